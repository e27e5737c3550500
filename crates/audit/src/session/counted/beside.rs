//! `a || b || …`: the engine's operator as a function, so that it can be counted as others are. A
//! chain of operators is one call: each call in another costs the planner more than the last.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::NullBuffer;
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr as _;
use datafusion::physical_expr::expressions::{BinaryExpr, Column};

/// The operator's name.
pub(super) const NAME: &str = "||";

/// The operator's function.
pub(super) fn function() -> ScalarUDF {
    ScalarUDF::from(Beside { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Beside {
    signature: Signature,
}

impl ScalarUDFImpl for Beside {
    fn name(&self) -> &'static str {
        NAME
    }

    /// As the operator is named.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(names.join(" || "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        types(arg_types).map(|(_, made)| made)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let given: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(NAME, self.return_type(&given)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        types(arg_types).map(|(given, _)| given)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if !args.return_type().is_string() {
            return pairs(args);
        }
        let absent = |arg: &ColumnarValue| match arg {
            ColumnarValue::Scalar(value) => value.is_null(),
            ColumnarValue::Array(_) => false,
        };
        if args.args.iter().any(absent) {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_type())?));
        }
        let nulls = args.args.iter().fold(None, |nulls, arg| match arg {
            ColumnarValue::Array(array) => NullBuffer::union(nulls.as_ref(), array.nulls()),
            ColumnarValue::Scalar(_) => nulls,
        });
        // The same, but that it passes over what is absent.
        let made = datafusion::functions::string::concat().invoke_with_args(args)?;
        match (made, nulls) {
            (ColumnarValue::Array(array), Some(nulls)) => {
                let absent = BooleanArray::new(!nulls.inner(), None);
                Ok(ColumnarValue::Array(nullif(&array, &absent)?))
            }
            (made, _) => Ok(made),
        }
    }
}

/// The types that the operands are cast to, and the type of what is made of them, one after the
/// other as the operator does it.
fn types(given: &[DataType]) -> Result<(Vec<DataType>, DataType)> {
    let Some((first, others)) = given.split_first() else {
        return internal_err!("an operator without operands");
    };
    let (mut cast, mut made) = (vec![first.clone()], first.clone());
    for other in others {
        let operator = BinaryTypeCoercer::new(&made, &Operator::StringConcat, other);
        let (left, right) = operator.get_input_types()?;
        if left != made {
            cast.fill(left);
        }
        cast.push(right);
        made = operator.get_result_type()?;
    }
    Ok((cast, made))
}

/// Operands that are bytes, put together by the engine's operator.
fn pairs(args: ScalarFunctionArgs) -> Result<ColumnarValue> {
    let same = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if same { 1 } else { args.number_rows };
    let mut made: Option<ArrayRef> = None;
    for arg in args.args {
        let right = arg.into_array(rows)?;
        made = Some(match made {
            None => right,
            Some(left) => pair(left, right, rows)?,
        });
    }
    match made {
        None => internal_err!("an operator without operands"),
        Some(array) if same => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)),
        Some(array) => Ok(ColumnarValue::Array(array)),
    }
}

pub(super) fn pair(left: ArrayRef, right: ArrayRef, rows: usize) -> Result<ArrayRef> {
    let fields = [("left", &left), ("right", &right)]
        .map(|(name, column)| Field::new(name, column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(schema, vec![left, right], &options)?;
    let (left, right) = (Arc::new(Column::new("left", 0)), Arc::new(Column::new("right", 1)));
    BinaryExpr::new(left, Operator::StringConcat, right).evaluate(&batch)?.into_array(rows)
}
