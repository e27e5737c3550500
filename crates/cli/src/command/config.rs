//! `bailiwick config`.

use anyhow::Result;
use serde_json::json;

use super::online::Desk;
use crate::args::ConfigVerb;
use crate::show;

const PATH: &str = "/v1/config";

pub(super) async fn run(verb: ConfigVerb, desk: Desk) -> Result<()> {
    match verb {
        ConfigVerb::Show => desk.show(PATH).await,
        ConfigVerb::Set(settings) => {
            // They are written whole: what was not said is said again as it is.
            let mut config = desk.http.get(PATH, &[]).await?;
            if let Some(pinning) = settings.pinning {
                config["pinning"] = json!(pinning);
            }
            if let Some(ttl) = settings.approval_ttl {
                config["approval_ttl"] = json!(ttl);
            }
            let answer = desk.http.put(PATH, &config).await?;
            show::json::recorded(desk.json, "the settings are written", &answer)
        }
    }
}
