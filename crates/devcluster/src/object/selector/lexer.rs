//! Tokens of a label selector.

/// One token. Keywords (`in`, `notin`) are words: whether they are keywords depends on where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Anything that is no symbol and no white space.
    Word(&'a str),
    /// `=`, `==`, `!=`, `!`, `,`, `(`, `)`, `<`, `>`.
    Symbol(&'a str),
    /// The end of the selector.
    End,
}

impl<'a> Token<'a> {
    /// The text as it stood in the selector, for messages.
    pub(super) fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }
}

/// Splits a selector into tokens; the last one is [`Token::End`].
pub(super) fn tokens(query: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut rest = query.trim_start();
    while !rest.is_empty() {
        let (token, length) = next(rest);
        out.push(token);
        rest = rest[length..].trim_start();
    }
    out.push(Token::End);
    out
}

fn next(rest: &str) -> (Token<'_>, usize) {
    let is_symbol = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '<' | '>');
    let length = if rest.starts_with("==") || rest.starts_with("!=") {
        2
    } else if rest.starts_with(is_symbol) {
        1
    } else {
        let end = rest.find(|c: char| is_symbol(c) || c.is_whitespace()).unwrap_or(rest.len());
        return (Token::Word(&rest[..end]), end);
    };
    (Token::Symbol(&rest[..length]), length)
}
