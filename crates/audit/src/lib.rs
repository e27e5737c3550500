//! The questions: Arrow tables and SQL over the record
