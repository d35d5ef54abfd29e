//! What is written is read again, and what nobody writes is refused.

use proptest::prelude::*;

use super::*;

fn id() -> impl Strategy<Value = DeviceId> {
    "[a-z0-9 :\u{e4}-]{1,12}".prop_map(|text| DeviceId::parse(&text).unwrap())
}

fn uplinks() -> impl Strategy<Value = (Uplink, Wishes)> {
    let uplink = (
        id(),
        prop::option::of("[a-z]{1,5}(/[a-z]{1,5}){0,2}"),
        prop::collection::vec(any::<u8>(), 0..300),
        prop::option::of("[a-z]{1,5}/[a-z]{1,5}(; x=[a-z]{1,3})?"),
        prop::option::of(0..=2_u8),
        any::<bool>(),
        prop::option::of(1..u64::from(u32::MAX)),
    );
    let wishes = (
        0..100_000_u64,
        any::<(bool, bool)>(),
        prop::option::of("[!-~]([ -~]{0,18}[!-~])?"),
        prop::collection::btree_map(".{0,9}", ".{0,9}", 0..4),
    );
    (uplink, wishes).prop_map(
        |(
            (device, subtopic, payload, content_type, qos, retain, expiry),
            (wait, (respond_async, confirm_platform), text, parameters),
        )| {
            let uplink = Uplink {
                device,
                subtopic: subtopic.map(|text| SubTopic::parse(&text).unwrap()),
                payload: payload.into(),
                content_type: content_type.map(|text| ContentType::parse(&text).unwrap()),
                qos: qos.and_then(Qos::from_level),
                retain,
                expiry: expiry.map(Duration::from_secs),
                traceparent: retain
                    .then(|| "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()),
            };
            let wishes = Wishes {
                wait: Duration::from_millis(wait),
                respond_async,
                confirm_platform,
                key: text.as_deref().and_then(key),
                parameters,
                placed: None,
            };
            (uplink, wishes)
        },
    )
}

fn text(ask: &Ask) -> String {
    format!("{ask:?}")
}

proptest! {
    #[test]
    fn an_uplink_is_read_as_it_was_written((uplink, wishes) in uplinks()) {
        let message = Ask::uplink(&uplink, &wishes, Duration::ZERO, wishes.wait);
        let read = Ask::read(message).unwrap();
        prop_assert_eq!(text(&read), text(&Ask::Uplink(Box::new((uplink, wishes)))));
    }

    #[test]
    fn what_is_cut_or_longer_is_refused((uplink, wishes) in uplinks(), cut in any::<prop::sample::Index>()) {
        let message = Ask::uplink(&uplink, &wishes, Duration::ZERO, wishes.wait);
        let short = message.slice(..cut.index(message.len()));
        prop_assert!(Ask::read(short).is_err());
        let long = [&message[..], b"\0"].concat();
        prop_assert_eq!(Ask::read(long.into()).unwrap_err(), DecodeError::Long);
    }

    #[test]
    fn no_bytes_do_harm(kind in 0..7_u8, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let message = [&[crate::http::forward::fields::VERSION, kind], &bytes[..]].concat();
        // It is refused, or something valid.
        if let Ok(Ask::Request(request)) = Ask::read(message.into()) {
            prop_assert!(request.uri.path().starts_with("/v1/devices/"));
        }
    }

    #[test]
    fn a_page_is_read_as_it_was_written(
        after in prop::option::of(id()),
        limit in 0..2000_usize,
        state in prop::option::of(prop::sample::select(State::ALL.to_vec())),
        connector in prop::option::of("[a-z]{1,9}"),
        patterns in prop::collection::vec("[a-z*]{1,9}", 0..4),
    ) {
        let wanted = PageWanted {
            after,
            limit,
            state,
            connector: connector.map(|name| ConnectorName::parse(&name).unwrap()),
            devices: Devices::of(patterns.iter().map(|text| DevicePattern::parse(text).unwrap())),
        };
        let Ok(Ask::Page(read)) = Ask::read(Ask::page(&wanted)) else {
            panic!("it is no page");
        };
        prop_assert_eq!(*read, wanted);
    }

    #[test]
    fn listeners_receipts_and_news_are_read_as_they_were_written(devices in prop::collection::vec(id(), 0..9), ms in 0..9999_u64) {
        let within = Duration::from_millis(ms);
        let read = Ask::read(Ask::listen(&devices, within)).unwrap();
        prop_assert_eq!(text(&read), text(&Ask::Listen(devices.clone(), within)));
        let id = UplinkId::new();
        let read = Ask::read(Ask::receipt(id)).unwrap();
        prop_assert_eq!(text(&read), text(&Ask::Receipt(id)));
        for device in devices {
            let read = Ask::read(Ask::stored(&device, id)).unwrap();
            prop_assert_eq!(text(&read), text(&Ask::Stored(device, id)));
        }
    }
}

#[test]
fn a_request_goes_along_without_what_lets_its_client_in() {
    let mut all = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("if-none-match", "*"),
        ("prefer", "wait=3"),
        ("prefer", "respond-async"),
        ("authorization", "Bearer geheim"),
        ("cookie", "geheim"),
        ("x-forwarded-for", "geheim"),
        ("connection", "close"),
        ("content-length", "3"),
        ("host", "geheim"),
    ] {
        let name: axum::http::HeaderName = name.parse().unwrap();
        all.append(name, value.parse().unwrap());
    }
    let request = DeviceRequest {
        method: Method::PUT,
        uri: "/v1/devices/a%20b?x=1".parse().unwrap(),
        headers: headers::of_request(&all),
        body: "{}\n".into(),
    };
    let message = Ask::request(&request);
    assert!(!String::from_utf8_lossy(&message).contains("geheim"));
    let Ok(Ask::Request(read)) = Ask::read(message) else {
        panic!("it is no request");
    };
    assert_eq!((&read.method, &read.uri), (&request.method, &request.uri));
    assert_eq!(read.headers.len(), 4);
    assert_eq!(read.headers, request.headers);
    assert_eq!(read.body, request.body);
}

#[test]
fn what_no_member_asks_is_refused() {
    let write = |method: &str, target: &str, header: &str| {
        let mut to = message(REQUEST, 0);
        to.text(method);
        to.text(target);
        to.list([header].iter(), |to, name| {
            to.text(name);
            to.bytes(b"x");
        });
        to.bytes(b"");
        Ask::read(to.finish().into()).is_ok()
    };
    assert!(write("GET", "/v1/devices/a", "accept"));
    for target in [
        "",
        "/",
        "*",
        "/v1/uplinks",
        "/v1/devices",
        "http://x/v1/devices/a",
        "/v1/devices/\0",
        &format!("/v1/devices/{}", "a".repeat(MAX_URI)),
    ] {
        assert!(!write("GET", target, "accept"), "{target}");
    }
    assert!(!write("G T", "/v1/devices/a", "accept"));
    for header in ["authorization", "Authorization", "cookie", "host", "a b"] {
        assert!(!write("GET", "/v1/devices/a", header), "{header}");
    }
    // A message of another kind, and one of a version to come.
    for bytes in [
        &b"\x01\x09"[..],
        b"\x02\x01",
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
    ] {
        assert!(Ask::read(bytes.into()).is_err());
    }
}
