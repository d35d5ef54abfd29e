//! The HTTP ceiling: an axum handler that reads the body and answers 202. `ceiling ADDRESS`

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;

async fn accept(body: Bytes) -> StatusCode {
    match body.is_empty() {
        true => StatusCode::BAD_REQUEST,
        false => StatusCode::ACCEPTED,
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).expect("ceiling ADDRESS");
    let router = Router::new().route("/v1/devices/{device}/uplinks", post(accept));
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router).await
}
