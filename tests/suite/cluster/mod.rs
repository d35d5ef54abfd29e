//! Three replicas on one nats-server, with a real Mosquitto: any of them answers for any device, and whatever happens to one
//! of them, what was answered is not lost and stays in order.
//!
//! `CAUSEWAY_CLUSTER_DEVICES=1000 CAUSEWAY_CLUSTER_SECONDS=60 tests/run cluster -- --nocapture` for more of it, with figures.

mod breaking;
mod everywhere;
mod listener;
mod stage;
mod work;
