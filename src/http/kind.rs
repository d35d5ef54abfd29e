//! The kinds of problems, in one table: what an answer says of them, and how `/docs` explains them.

use axum::http::StatusCode;

macro_rules! kinds {
    ($($name:ident: $status:ident $slug:literal $title:literal $about:literal;)*) => {
        /// What kind of problem it is. Its slug is stable: clients may compare the `type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kind {
            $($name,)*
        }

        impl Kind {
            /// All of them, by their status codes.
            pub(super) const ALL: &[Self] = &[$(Self::$name),*];

            pub(super) fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)*
                }
            }

            /// The end of its `type`.
            pub(super) fn slug(self) -> &'static str {
                match self {
                    $(Self::$name => $slug,)*
                }
            }

            /// In a few words.
            pub(super) fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }

            /// What it means and what to do about it. Code stands between backticks.
            pub(super) fn about(self) -> &'static str {
                match self {
                    $(Self::$name => $about,)*
                }
            }
        }
    };
}

kinds! {
    Malformed: BAD_REQUEST "malformed" "Malformed request"
        "The path, a parameter, a header or the body is wrong; `detail` says what. The same request fails again.";
    NotCarried: BAD_REQUEST "not-carried" "The connector does not carry this"
        "The request is well-formed, but the device's connector has no way to do it: a QoS above its highest, `retain`, a \
         sub-topic that its profile does not have, an `Idempotency-Key` without a store, or `confirm=platform` where the \
         platform never answers.";
    InvalidDevice: BAD_REQUEST "invalid-device" "Not a valid device"
        "What was sent is no device, or does not fit the configuration; `detail` names each field and what is wrong with it.";
    Unauthenticated: UNAUTHORIZED "unauthenticated" "No token"
        "Tokens or certificates are configured, and the request has neither. Send `Authorization: Bearer …`.";
    InvalidToken: UNAUTHORIZED "invalid-token" "Invalid token"
        "The token is not known here, or it has expired. `causeway access new` makes one.";
    WithoutScope: FORBIDDEN "insufficient-scope" "The token is not for this kind of request"
        "The token is good, but lacks the scope that this operation needs; the answer names it.";
    OtherDevice: FORBIDDEN "other-device" "The token is not for this device"
        "The token is good, but not for this device. The answer is the same whether there is such a device or not.";
    CrossSite: FORBIDDEN "cross-site" "Sent by a web page"
        "A web page of another origin made a browser send this. If it may, name its origin in the configuration: \
         `http.cors_origins`.";
    UnknownDevice: NOT_FOUND "unknown-device" "Unknown device"
        "There is no such device. `GET /v1/devices` lists those that there are.";
    UnknownUplink: NOT_FOUND "unknown-uplink" "Unknown uplink"
        "There is no receipt with this id, or no longer. Receipts of uplinks that were confirmed at once are in memory: only \
         the latest, and until the bridge restarts. The others are kept for a day, as configured.";
    UnknownKey: NOT_FOUND "unknown-key" "Unknown key"
        "The device has no key pair with this `kid`. `GET /v1/devices/{device}/keys` lists those that it has.";
    NoRoute: NOT_FOUND "no-route" "Nothing here"
        "There is nothing at this path. In a path, everything but letters, digits and `-._~` is percent-encoded.";
    Method: METHOD_NOT_ALLOWED "method" "Method not allowed"
        "The path is right and the method is not. The `Allow` header lists the methods that are possible.";
    NotAcceptable: NOT_ACCEPTABLE "not-acceptable" "Not acceptable"
        "The answer is not available in any form that the `Accept` header allows. `detail` names the forms that there are.";
    Timeout: REQUEST_TIMEOUT "timeout" "The request took too long"
        "The body did not arrive in time, or came too slowly. Nothing was taken.";
    KeyInFlight: CONFLICT "key-in-flight" "Same key in flight"
        "A request with the same `Idempotency-Key` is being worked on. Ask again with the same key, and you get its answer.";
    Leaving: CONFLICT "leaving" "The device is being deleted"
        "The device is being deleted, and takes no more uplinks.";
    Configured: CONFLICT "configured" "In the configuration file"
        "The device is written in the configuration file, which goes before. Change it there; the bridge takes the change over \
         while it runs.";
    CarriesOthers: CONFLICT "carries-others" "Other devices use its connection"
        "The device is a router device, and others are behind it. Change or delete those first.";
    Backlog: CONFLICT "backlog" "Uplinks wait"
        "Uplinks of the device wait for the broker. Say what becomes of them: `?backlog=drain` sends them first, \
         `?backlog=discard` drops them.";
    NoStore: CONFLICT "no-store" "There is no store"
        "Devices are registered in the store, and the configuration has none. Write the device into the configuration file, or \
         remove `enabled = false` from `[store]`.";
    KeyInUse: CONFLICT "key-in-use" "The key is needed"
        "This key pair is not deleted: it is the active one, or the one to go back to while the broker has not accepted the \
         active one.";
    TooManyKeys: CONFLICT "too-many-keys" "Too many keys"
        "The device has as many key pairs as it may have. Delete one that is not needed any more.";
    KeysNotKept: CONFLICT "keys-not-kept" "The device's keys are not kept here"
        "The device's key is a file of the configuration, or its profile signs no tokens: there are no key pairs to keep.";
    Exists: PRECONDITION_FAILED "exists" "The device exists"
        "With `If-None-Match: *`: there is such a device already, and it was not changed.";
    TooLarge: PAYLOAD_TOO_LARGE "too-large" "Body too large"
        "The body is larger than the bridge takes (`http.max_body`), or than the broker does.";
    ContentType: UNSUPPORTED_MEDIA_TYPE "content-type" "Content type not carried"
        "The device's connector does not carry this content type. The `Accept-Post` header lists those that it does.";
    KeyOtherBody: UNPROCESSABLE_ENTITY "key-other-body" "Same key, other uplink"
        "The `Idempotency-Key` was used for another uplink of this device. Use a new key for a new uplink.";
    PlatformRefused: UNPROCESSABLE_ENTITY "platform-refused" "The platform refused the uplink"
        "Only with `confirm=platform`: the broker has the message, and the platform does not want it. `platform` has its \
         code and its reasons. It is not sent again.";
    RateExceeded: TOO_MANY_REQUESTS "rate-exceeded" "Too many requests in a short time"
        "The token's rate is used up. `Retry-After` says when there is room again, and `RateLimit` how much.";
    TooManyRequests: TOO_MANY_REQUESTS "too-many-requests" "Too many requests at a time"
        "As many requests of this token are being worked on as it may have at a time.";
    TooManyStreams: TOO_MANY_REQUESTS "too-many-streams" "Too many streams at a time"
        "The token has as many streams open as it may have at a time.";
    DiagnosisUnderWay: TOO_MANY_REQUESTS "diagnosis-under-way" "The device is being examined"
        "This device is being examined already. Ask again when that is over.";
    HeadTooLarge: REQUEST_HEADER_FIELDS_TOO_LARGE "head-too-large" "Head too large"
        "The request's head is larger than `http.max_head`, or has more fields than `http.max_headers`.";
    Internal: INTERNAL_SERVER_ERROR "internal" "Internal error"
        "A defect of the bridge. Its log has the cause.";
    Refused: BAD_GATEWAY "refused" "The broker refused the uplink"
        "The broker refused this very message; `reason_code` and `reason` are its own. It is not sent again. Often the device \
         may not publish on this topic.";
    ConnectionRefused: BAD_GATEWAY "connection-refused" "The broker refuses the connection"
        "The broker refuses the device's connection, for example its key or its client id; `reason_code` and `reason` are \
         its own. The message was not sent. `GET /v1/devices/{device}/session` shows more.";
    KeyRefused: BAD_GATEWAY "key-refused" "The broker refused the key"
        "The broker refused the key pair that was to be activated: most often its public half is not registered there yet. \
         The one before it signs again.";
    Unusable: SERVICE_UNAVAILABLE "unusable" "The device cannot connect"
        "The device cannot connect for a reason of its own, such as a key that cannot sign; `detail` names it.";
    NoKey: SERVICE_UNAVAILABLE "no-key" "The device has no active key"
        "The device has no active key to sign its tokens with. Make one, register its public half with the platform, and \
         activate it.";
    Full: SERVICE_UNAVAILABLE "full" "Too many uplinks wait"
        "As many uplinks wait for the broker as may wait: in memory where there is no store, or in the store. Nothing was \
         taken; try again after `Retry-After`.";
    NotSent: SERVICE_UNAVAILABLE "not-sent" "No connection to the broker"
        "There was no connection within the wait, and there is no store to keep the uplink in. It was not sent and will not \
         be.";
    StoreUnavailable: SERVICE_UNAVAILABLE "store-unavailable" "The store is unavailable"
        "The disk cannot be read or written at the moment: is it full, or mounted read-only? Nothing was taken.";
    NoOwner: SERVICE_UNAVAILABLE "no-owner" "No replica answers for this"
        "Only where several replicas work together: the device's session is on its way from one replica to another, or the \
         replica that has it does not answer; or, for a list, not all replicas do. `detail` says whether something was done. \
         An uplink is stored and answered with 202 instead.";
    Expired: SERVICE_UNAVAILABLE "expired" "Expired before it was sent"
        "The uplink's `expiry` was over before it could be sent.";
    Changing: SERVICE_UNAVAILABLE "changing" "The device is being changed"
        "The device is going on to another connection at this very moment. The uplink was not taken; try again.";
    Closing: SERVICE_UNAVAILABLE "closing" "Shutting down"
        "The bridge is shutting down. The uplink was not sent and will not be.";
    TooManyDiagnoses: SERVICE_UNAVAILABLE "too-many-diagnoses" "Too many examinations"
        "As many devices are being examined as may be at a time. Ask again a little later.";
    TooManyConnections: SERVICE_UNAVAILABLE "too-many-connections" "Too many connections"
        "All of `http.max_connections` are busy.";
    Unconfirmed: GATEWAY_TIMEOUT "unconfirmed" "Not confirmed in time"
        "The message was sent, the broker has not confirmed it within the wait, and it could not be stored. It may have \
         arrived. It will not be sent again; posting it again may deliver it twice.";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_has_a_slug_of_its_own_and_is_an_error() {
        let slugs: HashSet<_> = Kind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            let status = kind.status();
            assert!(status.is_client_error() || status.is_server_error());
            let slug = kind.slug().bytes();
            assert!(slug.clone().all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert!(!kind.title().is_empty() && kind.about().ends_with('.'));
        }
    }
}
