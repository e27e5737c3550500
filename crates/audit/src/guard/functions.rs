//! The functions that a question may call.
//!
//! Left out, although the engine has them: whatever makes rows or values of a size that its
//! arguments choose (`generate_series`, `range`, `repeat`, `lpad`, `replace`, `array_repeat` …),
//! whatever makes types of types, as records do (thirty records of records are a type of a thousand
//! million members, which the planner writes out), and whatever tells about the process. What texts and
//! lists grow to in other functions is counted, see `session/counted.rs`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

const SCALARS: &str = "
    coalesce nullif nvl ifnull nvl2 greatest least arrow_typeof get_field
    ascii bit_length btrim chr concat concat_ws contains ends_with initcap levenshtein lower ltrim
    octet_length rtrim split_part starts_with to_hex trim upper
    character_length char_length length find_in_set left reverse right strpos instr position
    substr substring substr_index substring_index translate
    current_date today current_time current_timestamp now date_bin date_part datepart extract
    date_trunc datetrunc from_unixtime make_date to_char date_format to_date to_local_time
    to_timestamp to_timestamp_seconds to_timestamp_millis to_timestamp_micros to_timestamp_nanos
    to_unixtime
    regexp_count regexp_instr regexp_like regexp_match
    make_array make_list array_length list_length array_element array_extract list_element
    list_extract array_slice list_slice array_has array_contains list_has list_contains
    array_has_all list_has_all array_has_any list_has_any array_position list_position
    array_to_string list_to_string array_join array_distinct list_distinct array_sort list_sort
    array_max list_max array_min list_min string_to_array string_to_list cardinality empty
";

const AGGREGATES: &str = "
    count sum avg mean min max median stddev stddev_samp stddev_pop var var_samp var_pop
    var_sample var_population corr covar covar_samp covar_pop approx_distinct approx_median
    approx_percentile_cont percentile_cont quantile_cont array_agg string_agg bool_and bool_or
    bit_and bit_or bit_xor first_value last_value nth_value any_value grouping
";

const WINDOWS: &str = "
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value
    nth_value
";

static OFFERED: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    [SCALARS, AGGREGATES, WINDOWS].into_iter().flat_map(str::split_whitespace).collect()
});

/// Whether a question may call the function of this name, in lower case.
pub(crate) fn is_offered(name: &str) -> bool {
    OFFERED.contains(name)
}
