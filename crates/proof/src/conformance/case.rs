//! What a case is, and how it is run on one side.

use std::future::Future;
use std::time::Duration;

use futures::future::BoxFuture;

use super::trial::{Step, Trial};

/// No case takes longer unless something hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// One behaviour: a script of requests with its essential assertions.
pub struct Case {
    /// The behaviour in words.
    pub name: String,
    /// Position in its subject, for a namespace of its own.
    pub number: usize,
    /// Why the two sides differ, where they do on purpose. A case that does not differ after all fails.
    pub exempt: Option<&'static str>,
    /// Whether it disturbs others and runs by itself.
    pub alone: bool,
    script: Box<dyn Fn(Trial) -> BoxFuture<'static, ()> + Send + Sync>,
}

/// Cases about one thing.
pub struct Subject {
    /// Its name in the report.
    pub name: &'static str,
    /// What is tried.
    pub cases: Vec<Case>,
}

/// What one side showed.
pub struct Observation {
    /// Every request, answer and event, normalised.
    pub steps: Vec<Step>,
    /// The assertion that did not hold.
    pub failure: Option<String>,
}

impl Case {
    /// A case from a function whose name says what it is about.
    pub fn new<F, S>(function: &str, script: S) -> Self
    where
        S: Fn(Trial) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            name: function.replace('_', " "),
            number: 0,
            exempt: None,
            alone: false,
            script: Box::new(move |trial| Box::pin(script(trial))),
        }
    }

    /// Marks a difference that is meant.
    pub fn exempt(mut self, why: &'static str) -> Self {
        self.exempt = Some(why);
        self
    }

    /// Runs while no other case does.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Runs the script on one side.
    pub async fn observe(&self, trial: Trial) -> Observation {
        let script = (self.script)(trial.clone());
        let run = tokio::spawn(async move {
            trial.prepare().await;
            script.await;
            trial
        });
        let abort = run.abort_handle();
        match tokio::time::timeout(LIMIT, run).await {
            Ok(Ok(trial)) => Observation { steps: trial.steps(), failure: None },
            Ok(Err(error)) => Observation { steps: Vec::new(), failure: Some(panic_text(error)) },
            Err(_) => {
                abort.abort();
                Observation { steps: Vec::new(), failure: Some(format!("did not end within {LIMIT:?}")) }
            }
        }
    }
}

fn panic_text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "was cancelled".to_owned() };
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

impl Subject {
    /// Numbers the cases.
    pub fn new(name: &'static str, mut cases: Vec<Case>) -> Self {
        for (number, case) in cases.iter_mut().enumerate() {
            case.number = number + 1;
        }
        Self { name, cases }
    }

    /// Only the cases whose `subject: name` contains the text.
    pub fn filtered(mut self, text: Option<&str>) -> Self {
        if let Some(text) = text {
            let name = self.name;
            self.cases.retain(|case| format!("{name}: {}", case.name).contains(text));
        }
        self
    }
}

/// Cases from functions, named after them.
macro_rules! cases {
    ($($function:ident),* $(,)?) => {
        vec![$($crate::conformance::case::Case::new(stringify!($function), $function)),*]
    };
}
pub(super) use cases;
