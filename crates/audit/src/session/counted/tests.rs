use arrow::array::{AsArray, Int64Array, ListBuilder, StringArray, StringBuilder, StringViewArray};
use arrow::datatypes::{Field, Schema};
use datafusion::execution::FunctionRegistry as _;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::{ExprSchemable as _, col, lit};
use proptest::prelude::*;

use super::*;
use crate::budget::{Bounds, Budget};

fn memory(bytes: usize) -> Memory {
    Budget::new(&Bounds::INTERACTIVE).unwrap().memory(bytes)
}

/// Calls a function with these columns, which are as long as the first.
fn invoke(function: &ScalarUDF, args: &[ColumnarValue]) -> Result<ColumnarValue> {
    let kinds: Vec<DataType> = args.iter().map(ColumnarValue::data_type).collect();
    let field = |kind: &DataType| Arc::new(Field::new("x", kind.clone(), true));
    let arg_fields: Vec<FieldRef> = kinds.iter().map(field).collect();
    let number_rows = args.iter().find_map(|arg| match arg {
        ColumnarValue::Array(array) => Some(array.len()),
        ColumnarValue::Scalar(_) => None,
    });
    let scalars = vec![None; args.len()];
    let return_field = function.return_field_from_args(ReturnFieldArgs {
        arg_fields: &arg_fields,
        scalar_arguments: &scalars,
    })?;
    function.invoke_with_args(ScalarFunctionArgs {
        args: args.to_vec(),
        arg_fields,
        number_rows: number_rows.unwrap_or(1),
        return_field,
        config_options: Arc::default(),
    })
}

/// The engine's function of this name, and the same on the count.
fn both(name: &str, counting: &Counting) -> (Arc<ScalarUDF>, Arc<ScalarUDF>) {
    let functions = SessionStateDefaults::default_scalar_functions();
    let plain = functions.into_iter().find(|function| function.name() == name).unwrap();
    let counted = counting.counted(&plain).unwrap();
    (plain, counted)
}

fn texts(values: &[&str]) -> ColumnarValue {
    ColumnarValue::Array(Arc::new(StringArray::from(values.to_vec())))
}

fn array(value: ColumnarValue) -> ArrayRef {
    match value {
        ColumnarValue::Array(array) => array,
        ColumnarValue::Scalar(value) => panic!("{value}"),
    }
}

#[test]
fn what_is_made_is_counted_until_nobody_holds_it() {
    let memory = memory(10_000);
    let (_, concat) = both("concat", &Counting::of(&memory));
    let given = texts(&["some text", "another", "a third"]);
    let made = array(invoke(&concat, &[given.clone(), given.clone()]).unwrap());
    let bytes = memory.pool.reserved();
    assert_eq!(bytes, size::of(&made));
    let part = made.slice(1, 1);
    drop(made);
    assert_eq!(memory.pool.reserved(), bytes, "a part holds the whole");
    assert_eq!(part.as_string::<i32>().value(0), "anotheranother");
    drop(part);
    assert_eq!(memory.pool.reserved(), 0);
    let lists = array(invoke(&both("make_array", &Counting::of(&memory)).1, &[given]).unwrap());
    assert!(memory.pool.reserved() > 23, "{}", memory.pool.reserved());
    drop(lists);
    assert_eq!(memory.pool.reserved(), 0);
}

#[test]
fn what_would_outgrow_the_memory_is_refused_before_it_is_made() {
    let memory = memory(1_000);
    let counting = Counting::of(&memory);
    let text = "x".repeat(400);
    let given = texts(&[&text]);
    let error = invoke(&both("concat", &counting).1, &vec![given.clone(); 3]).unwrap_err();
    assert!(matches!(error, DataFusionError::ResourcesExhausted(_)), "{error}");
    assert_eq!(memory.pool.reserved(), 0);
    assert!(invoke(&both("concat", &counting).1, &vec![given; 2]).is_ok());
    let same = ColumnarValue::Scalar("y".repeat(CONSTANT_BYTES_MAX).as_str().into());
    let error = invoke(&both("concat", &counting).1, &[same.clone(), same]).unwrap_err();
    assert!(matches!(error, DataFusionError::ResourcesExhausted(_)), "{error}");
}

#[test]
fn a_value_for_all_rows_is_short_and_counted_until_the_end() {
    let memory = memory(10_000_000);
    let counting = Counting::of(&memory);
    let concat = both("concat", &counting).1;
    let half = |bytes: usize| ColumnarValue::Scalar("y".repeat(bytes / 2).as_str().into());
    let made = |bytes| invoke(&concat, &[half(bytes), half(bytes)]);
    made(CONSTANT_BYTES_FREE).unwrap();
    assert_eq!(memory.pool.reserved(), 0);
    made(CONSTANT_BYTES_MAX).unwrap();
    assert_eq!(memory.pool.reserved(), CONSTANT_BYTES_MAX);
    let error = made(CONSTANT_BYTES_MAX + 2).unwrap_err();
    assert_eq!(Error::behind(&error).unwrap().code(), "sql_memory");
    drop((concat, counting));
    assert_eq!(memory.pool.reserved(), 0);
}

#[test]
fn a_chain_of_operators_is_one_call() {
    let counting = Counting::of(&memory(1_000));
    let (schema, config) = (DFSchema::empty(), ConfigOptions::default());
    let chain = (0..5).fold(col("a"), |left, n| {
        let right = Box::new(lit(n.to_string()));
        let op = Operator::StringConcat;
        let chain = Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right });
        counting.rewrite(chain, &schema, &config).unwrap().data
    });
    let Expr::ScalarFunction(call) = &chain else { panic!("{chain}") };
    assert_eq!((call.name(), call.args.len()), ("||", 6));
    let again = counting.rewrite(chain.clone(), &schema, &config).unwrap();
    assert!(!again.transformed, "what counts already is left alone");
}

#[test]
fn every_function_that_is_offered_has_a_rule_or_makes_nothing_long() {
    let state = crate::session::about_schema(
        Arc::new(datafusion::catalog::MemoryCatalogProviderList::new()),
        "public",
        Vec::new(),
        &memory(1_000_000),
    );
    let state = state.unwrap();
    // Those whose values share what they are made of, or become a `case`.
    let shared = ["coalesce", "nvl", "nvl2", "get_field", "arrow_typeof"];
    let fields = ["a", "b", "c"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec();
    let schema = DFSchema::try_from(Schema::new(fields)).unwrap();
    let columns = ["a", "b", "c"].map(col);
    for name in state.udfs() {
        if Rule::of(&name).is_some() || shared.contains(&name.as_str()) {
            continue;
        }
        let function = state.udf(&name).unwrap();
        for count in 1..=3 {
            if let Ok(kind) = function.call(columns[..count].to_vec()).get_type(&schema) {
                assert!(!size::varies(&kind), "`{name}` makes {kind} and is not counted");
            }
        }
    }
}

fn rows() -> impl Strategy<Value = Vec<(Option<String>, Option<String>, Option<i64>)>> {
    let text = || proptest::option::of("[a-cß ,é]{0,20}");
    proptest::collection::vec((text(), text(), proptest::option::of(-3i64..9)), 1..20)
}

proptest! {
    #[test]
    fn counted_functions_answer_as_the_engine_does(rows in rows(), by in "[a-c,]{1,2}") {
        let memory = memory(10_000_000);
        let counting = Counting::of(&memory);
        let first: ArrayRef = Arc::new(rows.iter().map(|r| r.0.as_deref()).collect::<StringArray>());
        let second: ArrayRef = Arc::new(rows.iter().map(|r| r.1.as_deref()).collect::<StringArray>());
        let views: ArrayRef = Arc::new(rows.iter().map(|r| r.0.as_deref()).collect::<StringViewArray>());
        let numbers: ArrayRef = Arc::new(rows.iter().map(|r| r.2).collect::<Int64Array>());
        let mut lists = ListBuilder::new(StringBuilder::new());
        for (one, two, _) in &rows {
            lists.append_value([one.as_deref(), two.as_deref()]);
        }
        let lists: ArrayRef = Arc::new(lists.finish());
        let given = |columns: &[&ArrayRef]| -> Vec<ColumnarValue> {
            columns.iter().map(|column| ColumnarValue::Array(Arc::clone(column))).collect()
        };
        let with = |mut args: Vec<ColumnarValue>, text: &str| {
            args.push(ColumnarValue::Scalar(text.into()));
            args
        };
        let mut between = vec![ColumnarValue::Scalar(by.as_str().into())];
        between.extend(given(&[&first, &second]));
        for (name, args) in [
            ("concat", with(given(&[&first, &second]), &by)),
            ("concat", given(&[&views, &views])),
            ("concat_ws", between),
            ("upper", given(&[&first])),
            ("initcap", given(&[&views])),
            ("reverse", given(&[&first])),
            ("left", given(&[&first, &numbers])),
            ("substr", given(&[&views, &numbers])),
            ("btrim", with(given(&[&first]), &by)),
            ("translate", with(with(given(&[&first]), &by), "xyé")),
            ("split_part", with(given(&[&first]), &by).into_iter().chain(given(&[&numbers])).collect()),
            ("string_to_array", with(given(&[&first]), &by)),
            ("array_to_string", with(given(&[&lists]), &by)),
            ("array_to_string", with(with(given(&[&lists]), &by), "-")),
            ("make_array", given(&[&first, &second])),
            ("array_distinct", given(&[&lists])),
            ("array_element", given(&[&lists, &numbers])),
            ("regexp_match", with(given(&[&first]), "(a+)(b*)")),
        ] {
            let (plain, counted) = both(name, &counting);
            let (plain, counted) = (invoke(&plain, &args), invoke(&counted, &args));
            match (plain, counted) {
                (Ok(plain), Ok(counted)) => {
                    let (plain, counted) = (array(plain), array(counted));
                    prop_assert_eq!(&plain, &counted, "{}", name);
                }
                (plain, counted) => prop_assert!(plain.is_err() && counted.is_err(), "{}", name),
            }
        }
        let operator = |left: &ArrayRef, right: &ArrayRef| {
            beside::pair(Arc::clone(left), Arc::clone(right), rows.len()).unwrap()
        };
        let engine = operator(&operator(&first, &second), &first);
        let ours = invoke(&beside::function(), &given(&[&first, &second, &first])).unwrap();
        prop_assert_eq!(&engine, &array(ours));
        drop(counting);
        prop_assert_eq!(memory.pool.reserved(), 0);
    }
}
