//! The broker and the pretended platforms over real sockets, driven packet by packet.

mod client;
mod connect;
mod console;
mod downlinks;
mod publish;
mod run;
mod sap;
mod session;
mod setup;
