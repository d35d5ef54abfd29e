//! Writing down what each step came to, and telling whoever watches.

use std::time::{Duration, Instant};

use super::report::{Cause, Finding, Step, StepName};

/// What happens, for whoever watches.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A step begins.
    Begins(StepName),
    /// It has come to something.
    Ends(&'a Step),
}

/// The steps so far, and how long there still is for more.
pub(super) struct Notebook<'a> {
    steps: Vec<Step>,
    watch: &'a mut (dyn FnMut(Progress<'_>) + Send),
    until: Instant,
}

/// A step that has begun.
#[derive(Debug)]
pub(super) struct Begun {
    step: StepName,
    at: Instant,
}

impl Begun {
    /// How long ago.
    pub(super) fn ago(&self) -> Duration {
        self.at.elapsed()
    }
}

impl<'a> Notebook<'a> {
    pub(super) fn new(limit: Duration, watch: &'a mut (dyn FnMut(Progress<'_>) + Send)) -> Self {
        Self {
            steps: Vec::new(),
            watch,
            until: Instant::now() + limit,
        }
    }

    pub(super) fn begin(&mut self, step: StepName) -> Begun {
        (self.watch)(Progress::Begins(step));
        Begun {
            step,
            at: Instant::now(),
        }
    }

    pub(super) fn end(&mut self, begun: Begun, finding: Finding) {
        let took = begun.at.elapsed().as_millis();
        let step = Step {
            step: begun.step,
            finding,
            took_ms: u64::try_from(took).unwrap_or(u64::MAX),
        };
        (self.watch)(Progress::Ends(&step));
        self.steps.push(step);
    }

    /// A step that takes no time.
    pub(super) fn note(&mut self, step: StepName, finding: Finding) {
        let begun = self.begin(step);
        self.end(begun, finding);
    }

    /// How long a step may take that would like to have so long.
    pub(super) fn within(&self, limit: Duration) -> Duration {
        limit.min(self.until.saturating_duration_since(Instant::now()))
    }

    /// Notes steps as not reached, where the time is over.
    pub(super) fn is_over(&mut self, steps: &[StepName]) -> bool {
        let over = self.within(Duration::MAX).is_zero();
        if over {
            for step in steps {
                let seen = "the examination has taken as long as it may";
                self.note(*step, Finding::skipped(Cause::OutOfTime, seen));
            }
        }
        over
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}
