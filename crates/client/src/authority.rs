//! What an enforcement point needs of the ledger, and nothing else: ask, report, hear, and hold its
//! lease.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bailiwick_core::command::Finish;
use bailiwick_core::enforce::{self, Nonce, Subject};
use bailiwick_core::event::{DenialCode, Effect, Selector};
use bailiwick_core::id::{
    Action, AgentId, ApprovalId, CallId, GrantId, OwnerId, PointId, RequestId, Resource, SessionId,
    TaskId, Text, ToolId,
};
use bailiwick_core::record::hash::{Digest, Link};
use bailiwick_core::state::ApprovalStatus;
use bailiwick_core::time::Time;
use futures::Stream;
use serde_json::value::RawValue;

use crate::Error;
use crate::revocations::Signal;

/// How long a receipt is good for, and how long an enforcement point may act on an answered ping.
/// Both are counted on the enforcement point's own monotonic clock, from when it sent its question.
pub const LEASE: Duration = Duration::from_millis(enforce::LEASE.0);

/// How often an enforcement point pings.
pub const PING_EVERY: Duration = Duration::from_millis(enforce::PING_EVERY.0);

/// How long a decision may take before silence is a denial.
pub const AUTHORIZE_TIMEOUT: Duration = Duration::from_secs(2);

/// Revocations as they come, see [`Signal`].
pub type Signals = Pin<Box<dyn Stream<Item = Signal> + Send>>;

/// Who decides. Two exist: [`crate::Http`] and the engine within the process.
pub trait Authority: Send + Sync + 'static {
    /// Decides one call. When this returns [`Ruling::Allowed`], the decision is durable.
    ///
    /// # Errors
    /// [`Error`] when there is no decision; then the call must not go through.
    fn authorize(&self, ask: Ask) -> impl Future<Output = Result<Ruling, Error>> + Send;

    /// Records how an allowed call ended.
    ///
    /// # Errors
    /// [`Error`] when it is not known to be recorded.
    fn finish(&self, finish: Finish) -> impl Future<Output = Result<(), Error>> + Send;

    /// Opens a task; the ledger gives its id.
    ///
    /// # Errors
    /// [`Error`] when no task was opened.
    fn open_task(&self, task: NewTask) -> impl Future<Output = Result<TaskId, Error>> + Send;

    /// Closes a task that [`Authority::open_task`] opened.
    ///
    /// # Errors
    /// [`Error`] when it is not known to be closed.
    fn close_task(&self, task: TaskId) -> impl Future<Output = Result<(), Error>> + Send;

    /// How an approval stands: as soon as people have answered, or as it is after `wait`.
    ///
    /// # Errors
    /// [`Error`] when that cannot be told; then nobody has approved.
    fn approval(
        &self,
        approval: ApprovalId,
        wait: Duration,
    ) -> impl Future<Output = Result<ApprovalStatus, Error>> + Send;

    /// Everything that narrows what is allowed, from behind feed number `from`, or from now on.
    /// The stream never ends by itself and never fails: trouble is a [`Signal`].
    fn revocations(&self, from: Option<u64>) -> Signals;

    /// Asks the writer for a lease, and tells it what is enforced. The answer counts from when this
    /// was called; it is worth nothing after a [`LEASE`], and need not come then.
    ///
    /// # Errors
    /// [`Error`] when there is no lease to be had from this answer.
    fn ping(&self, ping: Ping) -> impl Future<Output = Result<Pong, Error>> + Send;

    /// Says that an enforcement point has stopped everything and is gone.
    ///
    /// # Errors
    /// [`Error`] when it is not known to have been heard; then its lease runs out.
    fn leave(&self, point: PointId) -> impl Future<Output = Result<(), Error>> + Send;
}

/// What an enforcement point says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    /// Which point.
    pub point: PointId,
    /// Drawn for this ping alone.
    pub nonce: Nonce,
    /// Every feed item up to this number is enforced; none before the feed's position is known.
    pub applied: Option<u64>,
}

/// What the writer answers while it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// The ping's own.
    pub nonce: Nonce,
    /// Where the feed stood.
    pub number: u64,
}

/// A call that wants to be made.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Who wants to act.
    pub agent: AgentId,
    /// The authenticated human, if the request carries one.
    pub on_behalf_of: Option<OwnerId>,
    /// Under which task.
    pub task: Option<TaskId>,
    /// In which session of the enforcement point.
    pub session: Option<SessionId>,
    /// Through which tool.
    pub tool: ToolId,
    /// Hash of the tool's definition as the enforcement point saw it.
    pub tool_hash: Option<Digest>,
    /// To do what.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// What it does to the world.
    pub effect: Effect,
    /// The arguments as they stand on the wire, so that what is decided about is what is sent.
    pub arguments: Option<Box<RawValue>>,
    /// Arguments fit to be recorded.
    pub disclosed: BTreeMap<Text, Text>,
    /// Why, in the caller's words.
    pub justification: Option<Text>,
    /// The caller's own id of this attempt, which makes a retry safe.
    pub call_id: RequestId,
    /// Whether [`Authority::finish`] will be called.
    pub reports_outcome: bool,
}

impl Ask {
    /// Everything that a revocation may name about the call, now that `permit` allows it.
    #[must_use]
    pub fn subject<'a>(&'a self, permit: &'a Permit) -> Subject<'a> {
        Subject {
            grant: permit.grant,
            agent: Some(&self.agent),
            // The human may be a delegate of the owner's: where the permit says nothing, nobody knows.
            owner: permit.owner.as_ref(),
            task: self.task,
            tool: Some(&self.tool),
            action: &self.action,
            resource: &self.resource,
        }
    }
}

/// What was decided. Both are on the ledger, but for a denial without a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It may go through.
    Allowed(Permit),
    /// It may not.
    Denied(Denial),
}

/// Leave to make one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    /// The call's number.
    pub call: CallId,
    /// The grant that was used.
    pub grant: GrantId,
    /// The agent's owner, when the authority says so.
    pub owner: Option<OwnerId>,
    /// Until when the grant lives.
    pub expires_at: Time,
    /// Uses left after this one.
    pub uses_left: u32,
    /// What else ends the call when it is taken back: what the grant was delegated from.
    pub rests_on: Vec<Selector>,
    /// Where the decision stands on the chain.
    pub receipt: Receipt,
    /// When the question was sent: the call may be started for one [`LEASE`] from then.
    pub asked: Instant,
}

/// A "no" with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// From the closed list.
    pub code: DenialCode,
    /// Words for people; nothing of policy.
    pub message: String,
    /// Where it stands on the chain; none when it could not be recorded.
    pub receipt: Option<Receipt>,
    /// The approval that is waited for, or that did not help.
    pub approval: Option<Awaited>,
}

/// An approval as a denial names it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Awaited {
    /// Its id.
    pub id: ApprovalId,
    /// Until when people may answer, in RFC 3339.
    pub expires_at: String,
    /// Digest of what they are shown.
    pub shown: Digest,
}

impl Denial {
    /// The call's number: the index of the event that records the denial.
    #[must_use]
    pub fn call(&self) -> Option<CallId> {
        self.receipt.map(|receipt| CallId(receipt.index))
    }
}

/// Where a decision stands on the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Receipt {
    /// Index of the event.
    pub index: u64,
    /// Hash of its header.
    pub link: Link,
}

/// A task to be opened.
#[derive(Debug, Clone, serde::Serialize)]
pub struct NewTask {
    /// Who is asked.
    pub agent: AgentId,
    /// What sort of task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<Text>,
}
