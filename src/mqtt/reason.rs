//! MQTT 5 reason codes (MQTT 5 §2.4) by name. Codes of 3.1.1 are translated to them.

use std::fmt;

/// A reason code. Below 0x80 it is a success.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reason(pub u8);

impl Reason {
    /// Success, normal disconnection, granted QoS 0.
    pub const SUCCESS: Self = Self(0x00);
    /// Taken, but nobody subscribes; a success.
    pub const NO_MATCHING_SUBSCRIBERS: Self = Self(0x10);
    /// No particular reason.
    pub const UNSPECIFIED: Self = Self(0x80);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(0x82);
    /// The broker does not speak this version.
    pub const UNSUPPORTED_PROTOCOL_VERSION: Self = Self(0x84);
    /// The client id is not acceptable.
    pub const CLIENT_ID_NOT_VALID: Self = Self(0x85);
    /// User name or password.
    pub const BAD_USER_NAME_OR_PASSWORD: Self = Self(0x86);
    /// Not allowed.
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    /// Not available at the moment.
    pub const SERVER_UNAVAILABLE: Self = Self(0x88);
    /// Shut out.
    pub const BANNED: Self = Self(0x8A);
    /// The broker goes down.
    pub const SERVER_SHUTTING_DOWN: Self = Self(0x8B);
    /// The client was silent for too long.
    pub const KEEP_ALIVE_TIMEOUT: Self = Self(0x8D);
    /// Another client connected with the same client id.
    pub const SESSION_TAKEN_OVER: Self = Self(0x8E);
    /// The topic is not acceptable.
    pub const TOPIC_NAME_INVALID: Self = Self(0x90);
    /// Too large.
    pub const PACKET_TOO_LARGE: Self = Self(0x95);
    /// The payload is not what it should be.
    pub const PAYLOAD_FORMAT_INVALID: Self = Self(0x99);
    /// This QoS is not supported.
    pub const QOS_NOT_SUPPORTED: Self = Self(0x9B);
    /// Another server is to be used for now.
    pub const USE_ANOTHER_SERVER: Self = Self(0x9C);
    /// Another server is to be used from now on.
    pub const SERVER_MOVED: Self = Self(0x9D);
    /// The authorised time is over.
    pub const MAXIMUM_CONNECT_TIME: Self = Self(0xA0);

    /// Whether it says that something failed.
    pub fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// The CONNACK return codes of 3.1.1 (§3.2.2.3) as MQTT 5 reason codes.
    pub fn from_v3_connack(code: u8) -> Self {
        match code {
            0 => Self::SUCCESS,
            1 => Self::UNSUPPORTED_PROTOCOL_VERSION,
            2 => Self::CLIENT_ID_NOT_VALID,
            3 => Self::SERVER_UNAVAILABLE,
            4 => Self::BAD_USER_NAME_OR_PASSWORD,
            5 => Self::NOT_AUTHORIZED,
            _ => Self::UNSPECIFIED,
        }
    }

    /// The name that the specification gives it.
    pub fn name(self) -> &'static str {
        match self.0 {
            0x00 => "success",
            0x01 => "granted QoS 1",
            0x02 => "granted QoS 2",
            0x04 => "disconnect with will message",
            0x10 => "no matching subscribers",
            0x11 => "no subscription existed",
            0x80 => "unspecified error",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x84 => "unsupported protocol version",
            0x85 => "client identifier not valid",
            0x86 => "bad user name or password",
            0x87 => "not authorized",
            0x88 => "server unavailable",
            0x89 => "server busy",
            0x8A => "banned",
            0x8B => "server shutting down",
            0x8C => "bad authentication method",
            0x8D => "keep alive timeout",
            0x8E => "session taken over",
            0x8F => "topic filter invalid",
            0x90 => "topic name invalid",
            0x91 => "packet identifier in use",
            0x92 => "packet identifier not found",
            0x93 => "receive maximum exceeded",
            0x94 => "topic alias invalid",
            0x95 => "packet too large",
            0x96 => "message rate too high",
            0x97 => "quota exceeded",
            0x98 => "administrative action",
            0x99 => "payload format invalid",
            0x9A => "retain not supported",
            0x9B => "QoS not supported",
            0x9C => "use another server",
            0x9D => "server moved",
            0x9E => "shared subscriptions not supported",
            0x9F => "connection rate exceeded",
            0xA0 => "maximum connect time",
            0xA1 => "subscription identifiers not supported",
            0xA2 => "wildcard subscriptions not supported",
            _ => "a reason that MQTT 5 does not define",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.name(), self.0)
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
