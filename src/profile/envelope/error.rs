//! Why a posted body cannot become what the platform expects: which parameter or member, what is allowed, an example.

use super::super::json::Kind;

/// Why a body cannot be put into, or is not, the envelope of its profile. No value that a client sent is repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The body is JSON, but no object, and no parameters say what to do with it.
    #[error("the body is not a JSON object: {example}")]
    NotObject {
        /// What to post.
        example: String,
    },
    /// A required member is missing.
    #[error("the body has no member {member:?}, which is {takes}: {example}")]
    MemberMissing {
        /// The member.
        member: String,
        /// What it may be.
        takes: String,
        /// What to post.
        example: String,
    },
    /// A member of another type.
    #[error("the body's member {member:?} must be {takes}, for example {example}")]
    MemberType {
        /// The member.
        member: String,
        /// What it may be.
        takes: String,
        /// A value.
        example: String,
    },
    /// A member that is there twice: readers disagree about which one counts (RFC 8259 §4).
    #[error("the body's member {member:?} is there twice")]
    MemberTwice {
        /// The member.
        member: String,
    },
    /// None or several of members that exclude each other.
    #[error("the body needs exactly one of {members}: {example}")]
    MembersOneOf {
        /// The members.
        members: String,
        /// What to post.
        example: String,
    },
    /// A parameter that the profile does not have.
    #[error("there is no query parameter {parameter:?} for this connector; there are: {known}")]
    NoSuchParameter {
        /// The parameter.
        parameter: String,
        /// Those that exist.
        known: String,
    },
    /// A required parameter is missing, while others are there.
    #[error("the query parameter {parameter:?}{about} is missing, for example {example}")]
    ParameterMissing {
        /// The parameter.
        parameter: String,
        /// What it is.
        about: String,
        /// A whole query.
        example: String,
    },
    /// A parameter's value is not of its type, or empty.
    #[error("the query parameter {parameter:?}{about} must be {kind}{}, for example {example}", not_empty(.kind))]
    ParameterType {
        /// The parameter.
        parameter: String,
        /// Its type.
        kind: Kind,
        /// What it is.
        about: String,
        /// A whole query.
        example: String,
    },
    /// None or several of parameters that exclude each other.
    #[error("exactly one of the query parameters {parameters} is needed, for example {example}")]
    ParametersOneOf {
        /// The parameters.
        parameters: String,
        /// A whole query.
        example: String,
    },
    /// The posted JSON is not what belongs into its member.
    #[error("the body becomes {member:?} and must be {takes}, for example {example}")]
    BodyType {
        /// The member.
        member: String,
        /// What it may be.
        takes: String,
        /// A value.
        example: String,
    },
    /// Parameters beside a body that is an envelope already.
    #[error(
        "the body is the platform's whole message already: post it without query parameters like {query}, or the measure alone with them"
    )]
    AlreadyWhole {
        /// A whole query.
        query: String,
    },
}

fn not_empty(kind: &Kind) -> &'static str {
    match kind {
        Kind::String => " that is not empty",
        _ => "",
    }
}
