//! What a broker sends: packets or an error, however the stream is cut; and what was read can be written again.
#![no_main]

use bytes::BytesMut;
use causeway::broker::MqttVersion;
use causeway::mqtt::codec::Codec;
use causeway::mqtt::packet::Packet;
use libfuzzer_sys::fuzz_target;

/// The packets of a stream, and whether it ended in an error.
fn read<'a>(codec: Codec, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Packet>, bool) {
    let (mut stream, mut packets) = (BytesMut::new(), Vec::new());
    for chunk in chunks {
        stream.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut stream) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(_) => return (packets, true),
            }
        }
    }
    (packets, false)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    for version in [MqttVersion::V311, MqttVersion::V5] {
        let codec = Codec {
            version,
            max_incoming: 4096,
        };
        let whole = read(codec, [bytes]);
        assert_eq!(read(codec, bytes.chunks(usize::from(cut) + 1)), whole);
        for packet in whole.0 {
            let mut written = BytesMut::new();
            // The packets of both directions; what only a broker says is not written to the letter.
            let both_ways = match &packet {
                Packet::Publish(_) => true,
                Packet::Ack(ack) => ack.text.is_none(),
                _ => false,
            };
            if !both_ways {
                continue;
            }
            if codec.encode(&packet, &mut written).is_ok() && written.len() <= codec.max_incoming {
                assert_eq!(codec.decode(&mut written), Ok(Some(packet)));
            }
        }
    }
});
