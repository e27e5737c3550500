//! Functions whose values are counted: what an expression makes is taken from the question's memory
//! before it is made, and given back with the last who holds it. The engine itself counts only what
//! sorts, groups and joins keep.
//!
//! Every call in a plan is put on the count before the plan is optimised, whoever put it there: the
//! statement, one of the engine's own planners (`[a, b]`, `a || b`), or a view. A text that has one
//! value for the whole question cannot carry its count along; such values are short, and stay
//! counted until the question ends.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, make_array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue, plan_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExpressionPlacement, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use self::bound::Rule;
use crate::budget::{MADE, Memory};
use crate::error::{Code, Error};
use crate::size;

mod beside;
mod bound;

/// The most bytes of a text, or list, that has one value for the whole question: it may be written
/// into each row of a batch, and is copied while the question is planned.
pub(crate) const CONSTANT_BYTES_MAX: usize = 64 * 1_024;
/// Constants up to this are not counted: a question has only so many.
const CONSTANT_BYTES_FREE: usize = 1_024;
/// The most bytes of the pattern of a regular expression.
const PATTERN_BYTES_MAX: usize = 1_024;

/// Puts calls on the count of one question.
#[derive(Debug)]
pub(super) struct Counting(Arc<Count>);

/// One question's count.
#[derive(Debug)]
struct Count {
    pool: Arc<dyn MemoryPool>,
    constants: MemoryReservation,
}

impl Counting {
    pub(super) fn of(memory: &Memory) -> Self {
        let constants = MemoryConsumer::new(MADE).register(&memory.pool);
        Self(Arc::new(Count { pool: Arc::clone(&memory.pool), constants }))
    }

    /// The function, on the count if it needs to be.
    fn counted(&self, function: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
        if function.inner().is::<Counted>() {
            return None;
        }
        let rule = Rule::of(function.name())?;
        let (function, count) = (Arc::clone(function), Arc::clone(&self.0));
        Some(Arc::new(Counted { function, rule, count }.into()))
    }

    /// `left || right`, as one call with what is in `left` already.
    fn beside(&self, left: Expr, right: Expr) -> Expr {
        #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's expressions, not ours")]
        match left {
            Expr::ScalarFunction(mut chain) if chain.name() == beside::NAME => {
                chain.args.push(right);
                Expr::ScalarFunction(chain)
            }
            left => {
                let (function, count) = (Arc::new(beside::function()), Arc::clone(&self.0));
                let counted = Counted { function, rule: Rule::Sum(2), count };
                call(Arc::new(counted.into()), vec![left, right])
            }
        }
    }
}

impl FunctionRewrite for Counting {
    fn name(&self) -> &'static str {
        "counted_functions"
    }

    fn rewrite(&self, expr: Expr, _: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        check_pattern(&expr)?;
        #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's expressions, not ours")]
        match expr {
            Expr::ScalarFunction(ScalarFunction { func, args }) => match self.counted(&func) {
                Some(func) => Ok(Transformed::yes(call(func, args))),
                None => Ok(Transformed::no(call(func, args))),
            },
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
                Ok(Transformed::yes(self.beside(*left, *right)))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

fn call(func: Arc<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction { func, args })
}

/// Lets regular expressions pass that are short and the same for every row: each different one is a
/// program of up to megabytes.
fn check_pattern(expr: &Expr) -> Result<()> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's expressions, not ours")]
    let pattern = match expr {
        Expr::ScalarFunction(call) if call.name().starts_with("regexp_") => call.args.get(1),
        Expr::BinaryExpr(BinaryExpr {
            op:
                Operator::RegexMatch
                | Operator::RegexIMatch
                | Operator::RegexNotMatch
                | Operator::RegexNotIMatch,
            right,
            ..
        }) => Some(right.as_ref()),
        Expr::SimilarTo(like) => Some(like.pattern.as_ref()),
        _ => None,
    };
    let Some(pattern) = pattern else { return Ok(()) };
    let mut literal = pattern;
    while let Expr::Cast(cast) = literal {
        literal = &cast.expr;
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the engine's expressions, not ours")]
    match literal {
        Expr::Literal(value, _) if size::of_scalar(value) <= PATTERN_BYTES_MAX => Ok(()),
        Expr::Literal(..) => {
            plan_err!("the pattern of a regular expression may have {PATTERN_BYTES_MAX} bytes")
        }
        Expr::Placeholder(_) => Ok(()),
        _ => plan_err!(
            "the pattern of a regular expression has to be a text in quotes or a parameter, the \
             same for every row; compare with `like`, `starts_with` or `strpos` instead"
        ),
    }
}

/// A function of the engine's, or of ours, whose values are counted.
#[derive(Debug, Clone)]
struct Counted {
    function: Arc<ScalarUDF>,
    rule: Rule,
    count: Arc<Count>,
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for Counted {}

impl std::hash::Hash for Counted {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl ScalarUDFImpl for Counted {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.function.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.function.return_type(arg_types)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let function = Arc::new(self.function.inner().with_updated_config(config)?);
        Some(Self { function, ..self.clone() }.into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.function.is_strict()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.rule.check(self.name(), &args.args)?;
        let same = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if same { 1 } else { args.number_rows };
        let most = self.rule.most(&args.args, rows);
        if same && most > 16 * CONSTANT_BYTES_MAX {
            return Err(too_long(self.name(), most));
        }
        let reservation = MemoryConsumer::new(MADE).register(&self.count.pool);
        reservation.try_grow(most)?;
        match self.function.invoke_with_args(args)? {
            ColumnarValue::Array(array) => held(array, reservation).map(ColumnarValue::Array),
            ColumnarValue::Scalar(value) => {
                drop(reservation);
                self.constant(&value)?;
                Ok(ColumnarValue::Scalar(value))
            }
        }
    }

    /// What `concat` and its like come to is of the engine's own functions again, so it is left.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        match self.name() {
            "concat" | "concat_ws" => Ok(ExprSimplifyResult::Original(args)),
            _ => self.function.simplify(args, info),
        }
    }

    fn short_circuits(&self) -> bool {
        self.function.short_circuits()
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.function.conditional_arguments(args)
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> Result<Interval> {
        self.function.evaluate_bounds(input)
    }

    fn propagate_constraints(
        &self,
        interval: &Interval,
        inputs: &[&Interval],
    ) -> Result<Option<Vec<Interval>>> {
        self.function.propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.function.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.function.preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.function.strictly_order_preserving(inputs)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(arg_types)
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.function.placement(args)
    }
}

impl Counted {
    /// Counts a value that all rows share until the question ends.
    fn constant(&self, value: &ScalarValue) -> Result<()> {
        let bytes = size::of_scalar(value);
        if bytes > CONSTANT_BYTES_MAX {
            return Err(too_long(self.name(), bytes));
        }
        if bytes > CONSTANT_BYTES_FREE {
            self.count.constants.try_grow(bytes)?;
        }
        Ok(())
    }
}

fn too_long(name: &str, bytes: usize) -> DataFusionError {
    let message = format!(
        "`{name}` would make a value of up to {bytes} bytes that is the same for every row, and \
         such a value may have {CONSTANT_BYTES_MAX}; make it shorter"
    );
    Error::refused(Code::Memory, message).within()
}

/// Bytes that are given back with the last who holds them.
struct Owned {
    buffer: Buffer,
    _reservation: MemoryReservation,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_slice()
    }
}

/// The same values, which keep what was taken for them for as long as they are held.
fn held(array: ArrayRef, reservation: MemoryReservation) -> Result<ArrayRef> {
    let bytes = size::of(&array);
    reservation.try_resize(bytes)?;
    if !size::varies(array.data_type()) {
        return Ok(array);
    }
    let mut reservation = Some(reservation);
    Ok(make_array(owning(array.to_data(), &mut reservation)?))
}

/// The same values, of which the longest run of bytes that comes first owns the reservation.
fn owning(
    data: arrow::array::ArrayData,
    reservation: &mut Option<MemoryReservation>,
) -> Result<arrow::array::ArrayData, ArrowError> {
    let mut children = Vec::with_capacity(data.child_data().len());
    for child in data.child_data() {
        children.push(owning(child.clone(), reservation)?);
    }
    let mut buffers = data.buffers().to_vec();
    // What lists and texts hold comes behind where it stands.
    if let Some(last) = buffers.last_mut().filter(|buffer| !buffer.is_empty())
        && let Some(reservation) = reservation.take()
    {
        let owned = Owned { buffer: last.clone(), _reservation: reservation };
        *last = Buffer::from(Bytes::from_owner(owned));
    }
    data.into_builder().buffers(buffers).child_data(children).build()
}

#[cfg(test)]
mod tests;
