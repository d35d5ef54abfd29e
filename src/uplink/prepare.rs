//! What was posted becomes what is published: checked against its connector, in the form that its platform expects, with an
//! id and the time at which it was accepted.

use std::time::{Duration, SystemTime};

use super::Wishes;
use super::check::check_for;
use super::confirm::{check_wishes, shape};
use super::error::UplinkError;
use super::key;
use super::order::Order;
use crate::broker::MqttVersion;
use crate::message::{Uplink, UplinkId};
use crate::profile::UplinkTopic;
use crate::registry::Connector;
use crate::session::Publish;
use crate::store::records::BodyHash;

/// An uplink that may go on its way.
pub(super) struct Prepared {
    /// Its payload is that of the message.
    pub(super) order: Order,
    pub(super) publish: Publish,
    /// Of what was posted, where the request has a key: the id in what is published is another one each time.
    pub(super) posted: Option<BodyHash>,
}

/// Prepares an uplink for a connection that speaks, or most likely will speak, a version of MQTT.
pub(super) fn prepare(
    connector: &Connector,
    topic: &UplinkTopic,
    spoken: Option<MqttVersion>,
    mut uplink: Uplink,
    wishes: &Wishes,
) -> Result<Prepared, UplinkError> {
    check_wishes(connector, wishes)?;
    let mut publish = check_for(connector, topic, spoken, &uplink)?;
    let posted = (wishes.key.as_ref()).map(|_| key::fingerprint(&uplink, &wishes.parameters));
    let id = UplinkId::new();
    let shaped = shape(&connector.profile, &publish, wishes, id)?;
    publish.payload = shaped.payload.clone();
    uplink.payload = shaped.payload;
    let order = Order {
        id,
        accepted_at: SystemTime::now(),
        qos: publish.qos,
        ack_id: shaped.ack_id,
        uplink,
    };
    Ok(Prepared {
        order,
        publish,
        posted,
    })
}

/// The message that an uplink becomes of a device without a session. `spoken` is the version of MQTT on the connection that
/// it is for.
pub fn compose(
    connector: &Connector,
    topic: &UplinkTopic,
    spoken: MqttVersion,
    uplink: Uplink,
) -> Result<Publish, UplinkError> {
    let wishes = Wishes::wait(Duration::ZERO);
    let prepared = prepare(connector, topic, Some(spoken), uplink, &wishes)?;
    Ok(prepared.publish)
}
