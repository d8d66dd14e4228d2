//! What a kubelet sees of a pod and decides to do about it, as a pure function.

use std::time::Duration;

use super::stage::{Play, Sandbox, back_off};
use super::status::{CRASH_LOOP, Ending};
use crate::sim::options::Timing;
use crate::sim::program::{Ask, Exit};
use crate::sim::script::Script;

/// The reason of a container that waits for what a kubelet has to do before.
const CREATING: &str = "ContainerCreating";
/// The reason of a container whose environment cannot be told.
const CONFIG_ERROR: &str = "CreateContainerConfigError";
/// Between two tries to make a sandbox.
const SANDBOX_RETRY: Duration = Duration::from_secs(10);
/// What is said when nobody serves the pod's handler on its node.
const UNSERVED: &str = "FailedCreatePodSandBox: Failed to create pod sandbox: rpc error: code = Unknown desc = CreateContainer failed: \
     remote hypervisor call failed: dial unix /run/peerpod/hypervisor.sock: connect: no such file or directory";

const NOW: Duration = Duration::ZERO;

/// Whether a pod's node is there and works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// It is there and ready.
    Ready,
    /// It is there but not ready: nothing happens on it.
    NotReady,
    /// It does not exist.
    Gone,
}

/// A pod's `restartPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Containers are started again whatever happened.
    Always,
    /// They are when they have failed.
    OnFailure,
    /// They never are.
    Never,
}

/// What of a pod's configuration is not there, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// For its volumes.
    pub volumes: Option<String>,
    /// For its environment.
    pub environment: Option<String>,
}

/// What a kubelet sees of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodView {
    /// It is being deleted.
    pub terminating: bool,
    /// `Pending`, `Running`, ...
    pub phase: String,
    /// It is ready.
    pub ready: bool,
    /// Its container waits for this reason: a word and a sentence.
    pub waiting: Option<(String, String)>,
    /// What becomes of it, unless a program runs in it.
    pub script: Script,
    /// The program that runs in it.
    pub play: Option<Play>,
    /// How often that has crashed.
    pub crashes: u32,
    /// Its sandbox.
    pub sandbox: Sandbox,
    /// What it waits for.
    pub missing: Missing,
    /// Its restart policy.
    pub again: Again,
    /// How long it may take to end.
    pub grace: Duration,
}

/// What a kubelet does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing, until something changes.
    Rest,
    /// Say why the container does not start.
    Hold(&'static str, String),
    /// See to its sandbox.
    Sandbox(Ask),
    /// Start it, ready or not.
    Start(bool),
    /// Start it again after a reboot or a crash.
    Restart,
    /// Run its program again as if nothing had been: the simulation itself was away.
    Resume,
    /// Say that it is ready.
    Ready,
    /// Say that it is not ready, since the node is not.
    Unready,
    /// Say that it has crashed.
    Crash(Ending),
    /// End it.
    Finish(Ending),
    /// Remove it.
    Remove,
}

/// What to do about a pod, and after how long in the present situation.
pub fn step(pod: &PodView, host: Host, timing: &Timing) -> (Duration, Act) {
    match (host, pod.phase.as_str()) {
        // Nothing runs on a node that does not exist; the pod's garbage collector removes the object.
        (Host::Gone, _) => (NOW, Act::Remove),
        (Host::NotReady, _) => (NOW, if pod.ready { Act::Unready } else { Act::Rest }),
        (Host::Ready, _) if pod.terminating => leave(pod, timing),
        // Nothing needs the sandbox any more.
        (Host::Ready, "Succeeded" | "Failed") if pod.sandbox == Sandbox::Ready => {
            (NOW, Act::Sandbox(Ask::Delete))
        }
        (Host::Ready, "Succeeded" | "Failed") => (NOW, Act::Rest),
        (Host::Ready, "Running") => match &pod.play {
            Some(play) => played(pod, play, timing),
            None => scripted(pod, timing),
        },
        (Host::Ready, _) => begin(pod, timing),
    }
}

/// On the way out.
fn leave(pod: &PodView, timing: &Timing) -> (Duration, Act) {
    let began = pod.phase != "Pending";
    if matches!(pod.play, Some(Play::Runs(_))) {
        return (pod.grace, Act::Remove);
    }
    match pod.sandbox {
        // A container runtime cannot stop what it is just making.
        Sandbox::Creating | Sandbox::Deleting => (NOW, Act::Rest),
        Sandbox::Ready => (timing.pod_stop, Act::Sandbox(Ask::Delete)),
        // This simulation did not see it made, but it was.
        Sandbox::Absent if began => (timing.pod_stop, Act::Sandbox(Ask::Delete)),
        Sandbox::Unserved(was) if was || began => (pod.grace, Act::Remove),
        Sandbox::Gone => (NOW, Act::Remove),
        Sandbox::Unneeded | Sandbox::Absent | Sandbox::Failed(_) | Sandbox::Unserved(_) => {
            (timing.pod_stop, Act::Remove)
        }
    }
}

/// Not started yet.
fn begin(pod: &PodView, timing: &Timing) -> (Duration, Act) {
    let hold = |reason: &'static str, message: &str| {
        let told = pod.waiting.as_ref().is_some_and(|(known, text)| known == reason && text == message);
        (NOW, if told { Act::Rest } else { Act::Hold(reason, message.to_owned()) })
    };
    if let (None, Script::Pending(reason, message)) = (&pod.play, &pod.script) {
        return hold(reason, message);
    }
    if let Some(why) = &pod.missing.volumes {
        return hold(CREATING, why);
    }
    match sandbox(pod) {
        Err(Need::Ask(after)) => return (after, Act::Sandbox(Ask::Create)),
        Err(Need::Wait(why)) => return hold(CREATING, &why),
        Err(Need::Retry(why)) => {
            return match hold(CREATING, &why) {
                (_, Act::Rest) => (SANDBOX_RETRY, Act::Sandbox(Ask::Create)),
                tell => tell,
            };
        }
        Ok(()) => {}
    }
    if let Some(why) = &pod.missing.environment {
        return hold(CONFIG_ERROR, why);
    }
    let ready = pod.play.is_none() && pod.script != Script::NeverReady;
    (timing.pod_start, Act::Start(ready))
}

enum Need {
    Ask(Duration),
    Wait(String),
    Retry(String),
}

/// What the pod's sandbox still needs before containers can start.
fn sandbox(pod: &PodView) -> Result<(), Need> {
    match &pod.sandbox {
        Sandbox::Unneeded | Sandbox::Ready => Ok(()),
        Sandbox::Absent | Sandbox::Gone => Err(Need::Ask(NOW)),
        Sandbox::Creating | Sandbox::Deleting => Err(Need::Wait(String::new())),
        Sandbox::Unserved(_) => Err(Need::Wait(UNSERVED.to_owned())),
        Sandbox::Failed(why) => {
            Err(Need::Retry(format!("FailedCreatePodSandBox: Failed to create pod sandbox: {why}")))
        }
    }
}

/// Started again, once there is a sandbox.
fn restart(pod: &PodView, after: Duration) -> (Duration, Act) {
    match sandbox(pod) {
        Ok(()) => (after, Act::Restart),
        Err(Need::Ask(after)) => (after, Act::Sandbox(Ask::Create)),
        Err(Need::Retry(_)) => (SANDBOX_RETRY, Act::Sandbox(Ask::Create)),
        Err(Need::Wait(_)) => (NOW, Act::Rest),
    }
}

/// Its node was down: what ran is lost.
fn interrupted(pod: &PodView, timing: &Timing) -> (Duration, Act) {
    match pod.again {
        Again::Never => (timing.pod_start, Act::Finish(Ending::lost())),
        Again::Always | Again::OnFailure => restart(pod, timing.pod_start),
    }
}

/// Running after a script.
fn scripted(pod: &PodView, timing: &Timing) -> (Duration, Act) {
    match &pod.script {
        Script::NeverReady => (NOW, Act::Rest),
        _ if !pod.ready => interrupted(pod, timing),
        Script::Succeed(after, message) => (*after, Act::Finish(Ending::success(message.clone()))),
        Script::Fail(after, message) => (*after, Act::Finish(Ending::failure(message.clone()))),
        Script::Run | Script::Pending(..) => (NOW, Act::Rest),
    }
}

/// Running a program.
fn played(pod: &PodView, play: &Play, timing: &Timing) -> (Duration, Act) {
    match (play, pod.again) {
        (Play::Runs(true), _) if !pod.ready => (NOW, Act::Ready),
        (Play::Runs(_), _) => (NOW, Act::Rest),
        (Play::Ended(Exit::Success(message)), Again::OnFailure | Again::Never) => {
            (NOW, Act::Finish(Ending::success(message.clone())))
        }
        (Play::Ended(Exit::Failure(message)), Again::Never) => {
            (NOW, Act::Finish(Ending::failure(message.clone())))
        }
        (Play::Ended(Exit::Success(message)), _) => (NOW, Act::Crash(Ending::success(message.clone()))),
        (Play::Ended(Exit::Failure(message)), _) => (NOW, Act::Crash(Ending::failure(message.clone()))),
        (Play::Absent, _) if pod.waiting.as_ref().is_some_and(|(reason, _)| reason == CRASH_LOOP) => {
            restart(pod, back_off(pod.crashes))
        }
        (Play::Absent, _) if pod.ready => (NOW, Act::Resume),
        (Play::Absent, _) => interrupted(pod, timing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn pod(phase: &str, ready: bool, script: &str) -> PodView {
        PodView {
            terminating: false,
            phase: phase.to_owned(),
            ready,
            waiting: None,
            script: Script::parse(script),
            play: None,
            crashes: 0,
            sandbox: Sandbox::Unneeded,
            missing: Missing::default(),
            again: Again::Always,
            grace: Duration::from_secs(30),
        }
    }

    fn once(pod: PodView) -> PodView {
        PodView { again: Again::Never, ..pod }
    }

    fn success(message: &str) -> Act {
        Act::Finish(Ending::success(message.to_owned()))
    }

    fn failure(message: &str) -> Act {
        Act::Finish(Ending::failure(message.to_owned()))
    }

    #[rstest]
    #[case::starts(pod("Pending", false, "run"), Host::Ready, 3, Act::Start(true))]
    #[case::waits_for_its_node(pod("Pending", false, "run"), Host::NotReady, 0, Act::Rest)]
    #[case::runs(pod("Running", true, "run"), Host::Ready, 0, Act::Rest)]
    #[case::node_down(pod("Running", true, "run"), Host::NotReady, 0, Act::Unready)]
    #[case::stays_down(pod("Running", false, "run"), Host::NotReady, 0, Act::Rest)]
    #[case::node_up(pod("Running", false, "run"), Host::Ready, 3, Act::Restart)]
    #[case::node_gone(pod("Running", true, "run"), Host::Gone, 0, Act::Remove)]
    #[case::script_starts_first(pod("Pending", false, "fail: x"), Host::Ready, 3, Act::Start(true))]
    #[case::succeeds(pod("Running", true, "succeed after 9s: y"), Host::Ready, 9, success("y"))]
    #[case::fails(pod("Running", true, "fail: x"), Host::Ready, 0, failure("x"))]
    #[case::lost_with_its_node(
        once(pod("Running", false, "succeed")),
        Host::Ready,
        3,
        Act::Finish(Ending::lost())
    )]
    #[case::begins_again(pod("Running", false, "succeed"), Host::Ready, 3, Act::Restart)]
    #[case::over(pod("Failed", false, "fail: x"), Host::Ready, 0, Act::Rest)]
    #[case::never_ready(pod("Pending", false, "never-ready"), Host::Ready, 3, Act::Start(false))]
    #[case::still_never_ready(pod("Running", false, "never-ready"), Host::Ready, 0, Act::Rest)]
    fn what_a_kubelet_does(#[case] pod: PodView, #[case] host: Host, #[case] after: u64, #[case] act: Act) {
        assert_eq!(step(&pod, host, &Timing::default()), (Duration::from_secs(after), act));
    }

    fn playing(phase: &str, ready: bool, play: Play) -> PodView {
        PodView { play: Some(play), ..pod(phase, ready, "fail") }
    }

    fn crashed(crashes: u32) -> PodView {
        let waiting = Some((CRASH_LOOP.to_owned(), "back-off".to_owned()));
        PodView { waiting, crashes, ..playing("Running", false, Play::Absent) }
    }

    fn ended(exit: Exit, again: Again) -> PodView {
        PodView { again, ..playing("Running", true, Play::Ended(exit)) }
    }

    fn good() -> Exit {
        Exit::Success("y".to_owned())
    }

    fn bad() -> Exit {
        Exit::Failure("x".to_owned())
    }

    #[rstest]
    #[case::starts(playing("Pending", false, Play::Absent), 3, Act::Start(false))]
    #[case::not_ready_yet(playing("Running", false, Play::Runs(false)), 0, Act::Rest)]
    #[case::becomes_ready(playing("Running", false, Play::Runs(true)), 0, Act::Ready)]
    #[case::is_ready(playing("Running", true, Play::Runs(true)), 0, Act::Rest)]
    #[case::done(ended(good(), Again::OnFailure), 0, success("y"))]
    #[case::failed(ended(bad(), Again::Never), 0, failure("x"))]
    #[case::tries_again(ended(bad(), Again::OnFailure), 0, Act::Crash(Ending::failure("x".into())))]
    #[case::never_done(ended(good(), Again::Always), 0, Act::Crash(Ending::success("y".into())))]
    #[case::first_crash(crashed(1), 10, Act::Restart)]
    #[case::third_crash(crashed(3), 40, Act::Restart)]
    #[case::many_crashes(crashed(30), 300, Act::Restart)]
    #[case::simulation_was_away(playing("Running", true, Play::Absent), 0, Act::Resume)]
    #[case::node_was_down(playing("Running", false, Play::Absent), 3, Act::Restart)]
    #[case::lost(once(playing("Running", false, Play::Absent)), 3, Act::Finish(Ending::lost()))]
    #[case::may_take_its_time(PodView { terminating: true, ..playing("Running", true, Play::Runs(true)) }, 30, Act::Remove)]
    #[case::has_ended(PodView { terminating: true, ..ended(good(), Again::Always) }, 2, Act::Remove)]
    fn a_program_instead_of_a_script(#[case] pod: PodView, #[case] after: u64, #[case] act: Act) {
        assert_eq!(step(&pod, Host::Ready, &Timing::default()), (Duration::from_secs(after), act));
    }

    fn boxed(phase: &str, sandbox: Sandbox) -> PodView {
        PodView { sandbox, ..pod(phase, phase == "Running", "run") }
    }

    fn leaving(phase: &str, sandbox: Sandbox) -> PodView {
        PodView { terminating: true, ..boxed(phase, sandbox) }
    }

    #[rstest]
    #[case::asks(boxed("Pending", Sandbox::Absent), 0, Act::Sandbox(Ask::Create))]
    #[case::waits(boxed("Pending", Sandbox::Creating), 0, Act::Hold(CREATING, String::new()))]
    #[case::nobody_there(boxed("Pending", Sandbox::Unserved(false)), 0, Act::Hold(CREATING, UNSERVED.into()))]
    #[case::made(boxed("Pending", Sandbox::Ready), 3, Act::Start(true))]
    #[case::anew_after_a_reboot(PodView { ready: false, ..boxed("Running", Sandbox::Absent) }, 0, Act::Sandbox(Ask::Create))]
    #[case::runs_on(boxed("Running", Sandbox::Unserved(true)), 0, Act::Rest)]
    #[case::no_use_any_more(boxed("Succeeded", Sandbox::Ready), 0, Act::Sandbox(Ask::Delete))]
    #[case::goes(leaving("Running", Sandbox::Ready), 2, Act::Sandbox(Ask::Delete))]
    #[case::is_going(leaving("Running", Sandbox::Deleting), 0, Act::Rest)]
    #[case::went(leaving("Running", Sandbox::Gone), 0, Act::Remove)]
    #[case::unknown_here(leaving("Running", Sandbox::Absent), 2, Act::Sandbox(Ask::Delete))]
    #[case::nobody_to_ask(leaving("Running", Sandbox::Unserved(true)), 30, Act::Remove)]
    #[case::was_never_made(leaving("Pending", Sandbox::Unserved(false)), 2, Act::Remove)]
    #[case::failed_for_good(leaving("Pending", Sandbox::Failed("x".into())), 2, Act::Remove)]
    #[case::just_being_made(leaving("Pending", Sandbox::Creating), 0, Act::Rest)]
    fn sandboxes(#[case] pod: PodView, #[case] after: u64, #[case] act: Act) {
        assert_eq!(step(&pod, Host::Ready, &Timing::default()), (Duration::from_secs(after), act));
    }

    /// The step after the kubelet has told what holds the pod.
    fn told(pod: &PodView) -> (Duration, Act) {
        let (_, Act::Hold(reason, message)) = step(pod, Host::Ready, &Timing::default()) else {
            panic!("not held");
        };
        let pod = PodView { waiting: Some((reason.to_owned(), message)), ..pod.clone() };
        step(&pod, Host::Ready, &Timing::default())
    }

    #[test]
    fn what_is_held_is_said_once() {
        let missing = |volumes: Option<&str>, environment: Option<&str>| {
            let own = |text: &str| text.to_owned();
            let missing = Missing { volumes: volumes.map(own), environment: environment.map(own) };
            PodView { missing, ..pod("Pending", false, "run") }
        };
        let reason = |pod: &PodView| match step(pod, Host::Ready, &Timing::default()) {
            (_, Act::Hold(reason, message)) => (reason, message),
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(&missing(Some("v"), Some("e"))), (CREATING, "v".to_owned()));
        assert_eq!(reason(&missing(None, Some("e"))), (CONFIG_ERROR, "e".to_owned()));
        assert_eq!(reason(&pod("Pending", false, "nonsense")).0, "InvalidScript");
        for held in [missing(Some("v"), None), missing(None, Some("e")), pod("Pending", false, "nonsense")] {
            assert_eq!(told(&held), (NOW, Act::Rest));
        }
        // A sandbox is tried again.
        let failed = boxed("Pending", Sandbox::Failed("no quota".to_owned()));
        assert!(reason(&failed).1.ends_with("pod sandbox: no quota"));
        assert_eq!(told(&failed), (SANDBOX_RETRY, Act::Sandbox(Ask::Create)));
    }

    #[test]
    fn a_terminating_pod_ends_only_on_a_node_that_works() {
        let pod = PodView { terminating: true, ..pod("Running", false, "run") };
        let timing = Timing::default();
        assert_eq!(step(&pod, Host::Ready, &timing), (timing.pod_stop, Act::Remove));
        assert_eq!(step(&pod, Host::NotReady, &timing), (Duration::ZERO, Act::Rest));
        assert_eq!(step(&pod, Host::Gone, &timing), (Duration::ZERO, Act::Remove));
    }
}
