//! The routes over a real listener, with sessions that do what a test says.

mod access;
mod bridge;
mod client;
mod cluster;
mod devices;
mod downlinks;
mod events;
mod forward;
mod https;
mod keys;
mod listener;
mod members;
mod routes;
mod server;
mod stored;
mod uplinks;
