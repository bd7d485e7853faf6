//! Reads that may never return, such as those of files that a process can have served by a
//! file system of its own: on a thread beside, with a limit in time.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::contained;

/// Threads that hang in a read. With so many no more is asked: nothing is known then.
const MAX_STUCK: usize = 64;

/// How long answers may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Each of them. The next question goes to another thread then.
    pub each: Duration,
    /// All of one call.
    pub all: Duration,
}

/// What answers questions on a thread beside.
pub struct Bounded<Q, A> {
    name: &'static str,
    answer: Arc<dyn Fn(Q) -> A + Send + Sync>,
    worker: Option<Worker<Q, A>>,
    /// One more than there are threads.
    threads: Arc<()>,
    stuck: Arc<Stuck<Q>>,
}

/// The questions that threads hang in. Nobody hangs in one of them twice.
struct Stuck<Q>(Mutex<Vec<Q>>);

impl<Q: PartialEq> Stuck<Q> {
    fn questions(&self) -> MutexGuard<'_, Vec<Q>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, question: &Q) {
        self.questions().retain(|other| other != question);
    }
}

struct Worker<Q, A> {
    questions: Sender<Q>,
    answers: Receiver<A>,
}

impl<Q: Clone + PartialEq + Send + 'static, A: Send + 'static> Bounded<Q, A> {
    /// Answers by `answer`. The thread is started with the first question and has the
    /// privileges that its caller has then.
    pub fn new(name: &'static str, answer: impl Fn(Q) -> A + Send + Sync + 'static) -> Self {
        let stuck = Arc::new(Stuck(Mutex::new(Vec::new())));
        Self { name, answer: Arc::new(answer), worker: None, threads: Arc::new(()), stuck }
    }

    /// Asks, and gives an answer for each question, `None` where it did not come in time.
    pub fn ask(&mut self, questions: &[Q], patience: Patience) -> Vec<Option<A>> {
        let limit = Instant::now() + patience.all;
        let mut answers = Vec::with_capacity(questions.len());
        while answers.len() < questions.len() && Instant::now() < limit {
            let question = &questions[answers.len()];
            if self.stuck.questions().contains(question) {
                answers.push(None);
                continue;
            }
            let Some(worker) = self.worker() else { break };
            if worker.questions.send(question.clone()).is_err() {
                self.worker = None;
                break;
            }
            let wait = patience.each.min(limit.saturating_duration_since(Instant::now()));
            match worker.answers.recv_timeout(wait) {
                Ok(answer) => answers.push(Some(answer)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    self.stuck.questions().push(question.clone());
                    // Its answer, should it come, is to this question and to no other.
                    self.worker = None;
                    answers.push(None);
                }
            }
        }
        answers.resize_with(questions.len(), || None);
        answers
    }

    fn worker(&mut self) -> Option<&Worker<Q, A>> {
        if self.worker.is_none() && Arc::strong_count(&self.threads) <= MAX_STUCK {
            let (questions, asked) = channel();
            let (answered, answers) = channel();
            let (answer, alive) = (Arc::clone(&self.answer), Arc::clone(&self.threads));
            let stuck = Arc::clone(&self.stuck);
            let work = move || {
                let mut last = None;
                for question in asked {
                    last = Some(Q::clone(&question));
                    if answered.send(answer(question)).is_err() {
                        break;
                    }
                }
                // Nobody waits for it any more: it may have hung in the last one.
                last.inspect(|last| stuck.remove(last));
                drop(alive);
            };
            contained::spawn(thread::Builder::new().name(self.name.to_owned()), work).ok()?;
            self.worker = Some(Worker { questions, answers });
        }
        self.worker.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Doubles a number; never answers to 0.
    fn doubling() -> Bounded<u64, u64> {
        Bounded::new("test", |number| {
            if number == 0 {
                thread::sleep(Duration::from_hours(1));
            }
            number * 2
        })
    }

    #[test]
    fn a_question_that_is_never_answered_costs_its_own_answer_alone() {
        let patience = Patience { each: 100 * MS, all: Duration::from_mins(1) };
        let answers = doubling().ask(&[1, 0, 2, 0, 3], patience);
        assert_eq!(answers, [Some(2), None, Some(4), None, Some(6)]);
    }

    #[test]
    fn no_more_threads_hang_than_are_allowed_and_then_nobody_waits() {
        let mut never = Bounded::new("test", |_: usize| thread::sleep(Duration::from_hours(1)));
        let patience = Patience { each: MS, all: Duration::from_mins(1) };
        let questions: Vec<usize> = (0..10 * MAX_STUCK).collect();
        let answers = never.ask(&questions, patience);
        assert_eq!(answers.iter().flatten().count(), 0);
        assert_eq!(Arc::strong_count(&never.threads), MAX_STUCK + 1);
        let began = Instant::now();
        let slow = Patience { each: Duration::from_mins(1), ..patience };
        assert_eq!(never.ask(&[10 * MAX_STUCK], slow), [None]);
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_question_hangs_one_thread_and_is_asked_again_once_that_is_back() {
        let (answer, answers) = channel();
        let answers = Mutex::new(answers);
        let mut waiting = Bounded::new("test", move |_: u64| answers.lock().unwrap().recv());
        let patience = Patience { each: 10 * MS, all: Duration::from_mins(1) };
        for _ in 0..3 {
            assert_eq!(waiting.ask(&[7; 10], patience), [None; 10]);
        }
        assert_eq!(Arc::strong_count(&waiting.threads), 2);
        answer.send(1).unwrap();
        while Arc::strong_count(&waiting.threads) > 1 {
            thread::yield_now();
        }
        answer.send(2).unwrap();
        let long = Patience { each: Duration::from_mins(1), ..patience };
        assert_eq!(waiting.ask(&[7], long), [Some(Ok(2))]);
    }

    #[test]
    fn all_answers_together_have_a_limit_too() {
        let mut slow = Bounded::new("test", |number: u64| {
            thread::sleep(5 * MS);
            number
        });
        let patience = Patience { each: Duration::from_mins(1), all: 50 * MS };
        let answers = slow.ask(&[7; 1000], patience);
        assert_eq!((answers.len(), answers[999]), (1000, None));
    }
}
