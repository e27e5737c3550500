//! A session: the query engine with our tables, the offered functions, one question's share of
//! memory, and nothing else. Each question gets its own.

use std::sync::{Arc, LazyLock};

use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider,
};
use datafusion::common::Result;
use datafusion::common::config::Dialect;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionConfig;

use crate::guard::functions::is_offered;
use crate::store::Snapshot;

mod projections;

/// The catalog's name, which stands before the schema's in a full table name.
pub(crate) const CATALOG: &str = "bailiwick";
/// The schema's name.
pub(crate) const SCHEMA: &str = "public";

struct Functions {
    scalars: Vec<Arc<ScalarUDF>>,
    aggregates: Vec<Arc<AggregateUDF>>,
    windows: Vec<Arc<WindowUDF>>,
}

/// The engine's functions whose name, or any other name they answer to, is offered.
static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| {
    let offered = |name: &str, aliases: &[String]| {
        is_offered(name) || aliases.iter().any(|alias| is_offered(alias))
    };
    let mut scalars = SessionStateDefaults::default_scalar_functions();
    scalars.retain(|f| offered(f.name(), f.aliases()));
    let mut aggregates = SessionStateDefaults::default_aggregate_functions();
    aggregates.retain(|f| offered(f.name(), f.aliases()));
    let mut windows = SessionStateDefaults::default_window_functions();
    windows.retain(|f| offered(f.name(), f.aliases()));
    Functions { scalars, aggregates, windows }
});

/// A session over `snapshot` that may use `memory_bytes` and runs on `threads`.
pub(crate) fn open(
    snapshot: Snapshot,
    threads: usize,
    memory_bytes: usize,
) -> Result<SessionState> {
    let schema = MemorySchemaProvider::new();
    for (name, table) in snapshot.tables {
        schema.register_table(name.to_owned(), table)?;
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::new(schema))?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    let functions = &*FUNCTIONS;
    Ok(SessionStateBuilder::new()
        .with_config(config(threads))
        .with_runtime_env(environment(memory_bytes)?)
        .with_catalog_list(Arc::new(catalogs))
        .with_physical_optimizer_rules(projections::rules())
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(functions.scalars.clone())
        .with_aggregate_functions(functions.aggregates.clone())
        .with_window_functions(functions.windows.clone())
        .build())
}

fn config(threads: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_information_schema(true)
        .with_target_partitions(threads);
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.execution.enable_recursive_ctes = false;
    config
}

/// Memory up to a bound, no disk, and no object stores: the engine registers the local file
/// system by itself, so that is taken away again.
fn environment(memory_bytes: usize) -> Result<Arc<RuntimeEnv>> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let environment = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory_bytes)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    environment.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    Ok(environment)
}
