//! The engine against a real nats-server that dies and comes back, and several of them on one.

mod cluster;
mod outage;
mod places;
mod server;
mod several;

pub(crate) use server::TestServer;
