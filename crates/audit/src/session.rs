//! A session: the query engine with our tables, the offered functions, one question's share of
//! memory, and nothing else. Each question gets its own.

use std::sync::{Arc, LazyLock};

use datafusion::catalog::{
    CatalogProvider as _, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
};
use datafusion::common::Result;
use datafusion::common::config::Dialect;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{FunctionRegistry as _, SessionStateDefaults};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::optimizer::Optimizer;
use datafusion::prelude::SessionConfig;

pub(crate) use self::counted::CONSTANT_BYTES_MAX;
use self::counted::Counting;
use crate::archive::scan::url;
use crate::budget::Memory;
use crate::guard::functions::is_offered;
use crate::store::Snapshot;

mod counted;
pub(crate) mod materialized;
mod newest;
mod projections;
mod tables;

/// The catalog's name, which stands before the schema's in a full table name.
pub(crate) const CATALOG: &str = "bailiwick";
/// The schema's name.
pub(crate) const SCHEMA: &str = "public";

/// The table behind the function of the same name. It is not listed: without what the function takes
/// it has nothing to say.
pub(crate) const VERIFY_CHAIN: &str = "verify_chain";

/// What a sort sets aside for merging is at most this part of a question's memory.
const MERGES_IN_MEMORY: usize = 32;

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

/// A session over `snapshot` that may use this memory and runs on `threads`.
pub(crate) fn open(snapshot: Snapshot, threads: usize, memory: &Memory) -> Result<SessionState> {
    let schema = tables::Tables::of(&snapshot)?;
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::new(schema))?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
    let functions = &*FUNCTIONS;
    let environment = environment(memory)?;
    if let Some(sealed) = &snapshot.sealed {
        environment.register_object_store(url()?.as_ref(), sealed.store());
    }
    let mut rules = Optimizer::new().rules;
    rules.extend(snapshot.as_of.map(|last| Arc::new(newest::Newest { last }) as Arc<_>));
    let mut state = SessionStateBuilder::new()
        .with_optimizer_rules(rules)
        .with_config(config(threads, memory.bytes))
        .with_runtime_env(environment)
        .with_catalog_list(Arc::new(catalogs))
        .with_physical_optimizer_rules(projections::rules())
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(functions.scalars.clone())
        .with_aggregate_functions(functions.aggregates.clone())
        .with_window_functions(functions.windows.clone())
        .build();
    state.register_function_rewrite(Arc::new(Counting::of(memory)))?;
    // `now()` and `current_date` are this moment throughout the question.
    state.mark_start_execution();
    Ok(state)
}

/// A session over other tables than ours: those in which clients read what there is. The functions
/// are the offered ones and `more`.
pub(crate) fn about_schema(
    catalogs: Arc<dyn CatalogProviderList>,
    schema: &str,
    more: Vec<Arc<ScalarUDF>>,
    memory: &Memory,
) -> Result<SessionState> {
    let functions = &*FUNCTIONS;
    let config = config(1, memory.bytes).with_information_schema(false);
    let config = config.with_default_catalog_and_schema(CATALOG, schema);
    let mut scalars = functions.scalars.clone();
    scalars.push(datafusion::functions::string::replace());
    scalars.extend(more);
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(environment(memory)?)
        .with_catalog_list(catalogs)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(scalars)
        .with_aggregate_functions(functions.aggregates.clone())
        .with_window_functions(functions.windows.clone())
        .build();
    state.register_function_rewrite(Arc::new(Counting::of(memory)))?;
    Ok(state)
}

fn config(threads: usize, memory_bytes: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_information_schema(true)
        .with_target_partitions(threads);
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.execution.enable_recursive_ctes = false;
    // Without a zone the engine reads `timestamptz` as a moment of nowhere.
    options.execution.time_zone = Some(crate::table::sheet::UTC.to_owned());
    // Set aside by each sort for merging what it wrote to disk.
    let merge = options.execution.sort_spill_reservation_bytes;
    options.execution.sort_spill_reservation_bytes = merge.min(memory_bytes / MERGES_IN_MEMORY);
    config
}

/// Memory up to a bound, the disk that all questions share, and no object stores: the engine
/// registers the local file system by itself, so that is taken away again.
fn environment(memory: &Memory) -> Result<Arc<RuntimeEnv>> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let mut environment = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::clone(&memory.pool))
        .with_disk_manager_builder(disk)
        .build()?;
    environment.disk_manager = Arc::clone(&memory.disk);
    environment.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    Ok(Arc::new(environment))
}
