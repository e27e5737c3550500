//! The schema of a session: a snapshot's tables, and the one that only a function reads.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use datafusion::catalog::{MemorySchemaProvider, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result};

use super::VERIFY_CHAIN;
use crate::store::Snapshot;
use crate::table::verified::VerifyChain;

/// Tables that are listed, and `verify_chain`, which is not.
#[derive(Debug)]
pub(super) struct Tables {
    listed: MemorySchemaProvider,
    chain: Option<Arc<VerifyChain>>,
}

impl Tables {
    pub(super) fn of(snapshot: &Snapshot) -> Result<Self> {
        let listed = MemorySchemaProvider::new();
        for (name, table) in &snapshot.tables {
            listed.register_table((*name).to_owned(), Arc::clone(table))?;
        }
        let events = snapshot.tables.iter().find(|(name, _)| *name == "events");
        let chain = events.map(|(_, events)| {
            let (chain, events) = (snapshot.chain.clone(), Arc::clone(events));
            let kept = snapshot.sealed.as_ref().map_or(0, |sealed| sealed.first_kept());
            Arc::new(VerifyChain { chain, events, kept, as_of: snapshot.as_of })
        });
        Ok(Self { listed, chain })
    }
}

impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        self.listed.table_names()
    }

    fn table<'a, 'b, 'c>(
        &'a self,
        name: &'b str,
    ) -> Pin<
        Box<
            dyn Future<Output = Result<Option<Arc<dyn TableProvider>>, DataFusionError>>
                + Send
                + 'c,
        >,
    >
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        match &self.chain {
            Some(chain) if name == VERIFY_CHAIN => {
                Box::pin(ready(Ok(Some(Arc::clone(chain) as _))))
            }
            Some(_) | None => self.listed.table(name),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        name == VERIFY_CHAIN || self.listed.table_exist(name)
    }

    fn register_table(
        &self,
        name: String,
        table: Arc<dyn TableProvider>,
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        self.listed.register_table(name, table)
    }

    fn deregister_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.listed.deregister_table(name)
    }
}
