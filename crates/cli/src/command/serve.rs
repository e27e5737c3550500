//! `bailiwick serve`.

use anyhow::{Context as _, Result};
use bailiwick_ledger::Store;
use bailiwick_ledger::home::admin_key_path;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Surroundings, variable};
use crate::service::Service;
use crate::{args, show};

pub(super) fn run(args: &args::Serve) -> Result<()> {
    let config = Surroundings::read(args.config.as_deref(), &variable)?.serve(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anything is opened, so that a signal during a long replay ends it in order too.
    let stop = {
        let _inside = runtime.enter();
        let listen = |kind| signal(kind).context("signals cannot be listened to");
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?)
    };
    let service = Service::start(&config)?;
    let info = service.ledger().info();
    let key = admin_key_path(&config.ledger.home);
    if args.json {
        let told = json!({
            "url": service.url(), "name": info.name, "ledger": info.ledger,
            "events": info.events, "admin_key": key, "pg": service.pg_address(),
        });
        show::line(&told.to_string())?;
    } else {
        let place = match &config.ledger.store {
            Store::Embedded => format!("in {}", config.ledger.home.display()),
            Store::JetStream(stream) => format!("on stream {}", stream.name.stream()),
        };
        show::line(&format!(
            "bailiwick serves ledger `{}` ({place}, {} events) at {}; its admin key is in {}",
            info.name,
            info.events,
            service.url(),
            key.display(),
        ))?;
        if let Some(address) = service.pg_address() {
            show::line(&format!(
                "PostgreSQL clients find it at {address}: the user is a credential's name, the \
                 password its key"
            ))?;
        }
    }
    if let Some(why) = service.ledger().health().why {
        show::note(&format!("not ready: {why}"));
    }
    let (mut terminate, mut interrupt) = stop;
    runtime.block_on(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    service.stop()
}
