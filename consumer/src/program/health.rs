//! Health and metrics over HTTP, for supervisors and scrapers.
//!
//! | Path | 200 | 503 |
//! |---|---|---|
//! | `/livez` | the process works, or waits for broker and store | it cannot go on: restart it |
//! | `/readyz` | every advertised topic has a registered consumer, beats are answered, it belongs to the fleet | the body says what is missing |
//! | `/metrics` | Prometheus text | not started yet |
//!
//! Broker and store being away makes an instance not ready, never dead: a restart would not bring them back, and would
//! cost the jobs that still run.

use crate::Running;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use longshore_model::settings::Loaded;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::net::TcpListener;

/// The live instance, once there is one.
type Live = Arc<OnceLock<Arc<Running>>>;

/// The address that was asked for cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("health.listen = {address}: {source}; set it to a free address, or to off")]
pub struct CannotListen {
    address: SocketAddr,
    source: std::io::Error,
}

/// Takes the address of the health endpoints. `None`: there are none, because they are off or because the address is
/// the default and taken: a second consumer on a machine is no mistake.
///
/// # Errors
/// [`CannotListen`] when the address was set and cannot be used.
pub async fn bind(loaded: &Loaded) -> Result<Option<TcpListener>, CannotListen> {
    let Some(address) = loaded.settings.health.listen else { return Ok(None) };
    match TcpListener::bind(address).await {
        Ok(listener) => {
            let address = listener.local_addr().unwrap_or(address);
            tracing::info!(%address, "health endpoints: /livez, /readyz, /metrics");
            Ok(Some(listener))
        }
        Err(source) if loaded.origins.contains_key("health.listen") => Err(CannotListen { address, source }),
        Err(error) => {
            tracing::warn!(%address, %error, "no health endpoints: the default address cannot be used; set health.listen");
            Ok(None)
        }
    }
}

/// Answers for as long as it is polled.
pub async fn serve(listener: Option<TcpListener>, live: Live) -> Infallible {
    if let Some(listener) = listener {
        let router = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(live);
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the health endpoints have ended");
        }
    }
    std::future::pending().await
}

async fn livez(State(live): State<Live>) -> impl IntoResponse {
    match live.get() {
        None => (StatusCode::OK, "starting\n"),
        Some(running) if running.is_live() => (StatusCode::OK, "live\n"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "the instance is not part of the fleet any more\n"),
    }
}

async fn readyz(State(live): State<Live>) -> impl IntoResponse {
    let Some(running) = live.get() else {
        let why = "not ready\nbroker and store are not reached yet\n";
        return (StatusCode::SERVICE_UNAVAILABLE, why.to_owned());
    };
    let reasons = running.unready();
    if reasons.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{}\n", reasons.join("\n")))
    }
}

async fn metrics(State(live): State<Live>) -> impl IntoResponse {
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    match live.get() {
        Some(running) => (StatusCode::OK, kind, running.metrics()),
        None => (StatusCode::SERVICE_UNAVAILABLE, kind, "# starting\n".to_owned()),
    }
}
