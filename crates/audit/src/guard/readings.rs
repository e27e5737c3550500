//! How often a text's tokens are read until it is planned. The parser reads the arguments of a call
//! twice, since the first of them may be a name (`f(a => 1)`), and so does it with each call in them;
//! the planner looks twice at what a subquery is of, and at each subquery in that. So thirty calls in
//! calls are a thousand million readings, and the brackets themselves are no measure of that.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

/// What is read of the tokens so far.
#[derive(Default)]
pub(super) struct Readings {
    /// How often each bracket that is open doubles what is in it.
    doubled: Vec<u32>,
    before: Before,
    total: u64,
}

/// What stood before a token.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// What a call's name may be.
    Name,
    /// What a table follows.
    From,
    /// A bracket, which is a table's.
    Table,
    /// Another bracket.
    Bracket,
    #[default]
    Other,
}

impl Readings {
    /// How many readings there are with one token more.
    pub(super) fn with(&mut self, token: &Token) -> u64 {
        let mut before = Before::Other;
        #[expect(clippy::wildcard_enum_match_arm, reason = "the tokenizer's enum, not ours")]
        match token {
            Token::Whitespace(_) => return self.total,
            Token::LParen | Token::LBracket | Token::LBrace => {
                self.doubled.push(u32::from(self.before == Before::Name));
                let table = matches!(self.before, Before::From | Before::Table);
                before = if table { Before::Table } else { Before::Bracket };
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                self.doubled.pop();
            }
            Token::Word(word) => {
                let asks = matches!(word.keyword, Keyword::SELECT | Keyword::WITH);
                if let (true, Before::Bracket, Some(open)) =
                    (asks, self.before, self.doubled.last_mut())
                {
                    *open = 2;
                }
                before = behind(word.keyword);
            }
            _ => {}
        }
        self.before = before;
        let times = self.doubled.iter().sum::<u32>();
        self.total = self.total.saturating_add(1u64.checked_shl(times).unwrap_or(u64::MAX));
        self.total
    }
}

/// What stands before whatever comes behind a word: a bracket there may be that of a call, unless no
/// call can be.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's keywords, not ours")]
const fn behind(word: Keyword) -> Before {
    match word {
        Keyword::FROM | Keyword::JOIN => Before::From,
        Keyword::AND
        | Keyword::OR
        | Keyword::NOT
        | Keyword::IN
        | Keyword::AS
        | Keyword::ON
        | Keyword::BY
        | Keyword::WHERE
        | Keyword::WHEN
        | Keyword::THEN
        | Keyword::ELSE
        | Keyword::UNION
        | Keyword::SELECT
        | Keyword::EXISTS
        | Keyword::VALUES => Before::Other,
        _ => Before::Name,
    }
}
