//! Three replicas on one nats-server, or on three, with a real Mosquitto: any of them answers for any device, and whatever
//! happens to one of them, what was answered is not lost and stays in order, and no device has two connections.
//!
//! `CAUSEWAY_CLUSTER_DEVICES=1000 tests/run cluster -- --nocapture` for more of it, with figures; the other settings are in
//! `settings`.

mod breaking;
mod connections;
mod drift;
mod everywhere;
mod listener;
mod platforms;
mod replica;
mod requests;
mod settings;
mod stage;
mod three_servers;
mod work;
mod wrong_doors;
