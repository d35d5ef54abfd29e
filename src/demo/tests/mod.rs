//! The broker and the pretended platforms over real sockets, driven packet by packet.

mod client;
mod connect;
mod downlinks;
mod publish;
mod session;
mod setup;
