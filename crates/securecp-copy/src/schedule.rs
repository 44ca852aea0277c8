use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Builder;

/// How a piece of work competes for workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// A small request: goes first.
    Light,
    /// A stream of so many bytes: the largest goes first, and only so many run at once.
    Heavy(u64),
    /// The same with a compressor at work, which takes memory.
    Compressing(u64),
}

/// How many threads, and how many of them may run heavy work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) workers: usize,
    pub(crate) heavy: usize,
    /// How many of those may compress.
    pub(crate) compressing: usize,
}

/// Work that waits for other work: `needs[n]` must be done before `n`.
pub(crate) struct Graph<'a> {
    pub(crate) needs: Vec<&'a [usize]>,
    pub(crate) weights: Vec<Weight>,
}

/// What is done so far.
pub(crate) struct Done<T>(Vec<OnceLock<T>>);

impl<T> Done<T> {
    /// The result of `node`, which the caller waited for.
    pub(crate) fn of(&self, node: usize) -> Option<&T> {
        self.0.get(node).and_then(OnceLock::get)
    }

    pub(crate) fn into_all(self) -> Vec<T> {
        self.0.into_iter().filter_map(OnceLock::into_inner).collect()
    }
}

/// The largest first, among equals the earliest.
type Stream = (u64, std::cmp::Reverse<usize>);

struct Queue {
    waiting: Vec<usize>,
    light: VecDeque<usize>,
    heavy: BinaryHeap<Stream>,
    compressing: BinaryHeap<Stream>,
    heavy_running: usize,
    compressing_running: usize,
    left: usize,
    failed: bool,
}

/// Does all work of `graph`; after the first failure nothing more is begun and that failure is returned.
///
/// `stop` is called at once on a failure, so that work under way can end early.
pub(crate) fn execute<T: Send + Sync, E: Send>(
    graph: &Graph<'_>,
    limits: Limits,
    stop: impl Fn() + Sync,
    work: impl Fn(usize, &Done<T>) -> Result<T, E> + Sync,
) -> Result<Done<T>, E> {
    let shared = Shared::new(graph, limits);
    let done = Done(graph.needs.iter().map(|_| OnceLock::new()).collect());
    let failure = Mutex::new(None);
    let worker = || {
        while let Some(node) = shared.take() {
            let alarm = Alarm { shared: &shared, stop: &stop };
            let result = work(node, &done);
            std::mem::forget(alarm);
            match result {
                Ok(result) => {
                    let _ = done.0[node].set(result);
                    shared.complete(node);
                }
                Err(error) => {
                    lock(&failure).get_or_insert(error);
                    shared.fail();
                    stop();
                }
            }
        }
    };
    let workers = limits.workers.clamp(1, graph.needs.len().max(1));
    start(workers, Builder::new, &worker);
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(done),
    }
}

/// Runs `worker` on so many threads, or on as many as there are; if there is none, on the caller's.
fn start(workers: usize, thread: impl Fn() -> Builder, worker: &(impl Fn() + Sync)) {
    std::thread::scope(|scope| {
        let started = (0..workers).map_while(|_| thread().spawn_scoped(scope, worker).ok());
        if started.count() == 0 {
            worker();
        }
    });
}

/// Dropped only when work panics: the others must not wait for it.
struct Alarm<'a, 'g> {
    shared: &'a Shared<'g>,
    stop: &'a dyn Fn(),
}

impl Drop for Alarm<'_, '_> {
    fn drop(&mut self) {
        self.shared.fail();
        (self.stop)();
    }
}

struct Shared<'a> {
    graph: &'a Graph<'a>,
    dependents: Vec<Vec<usize>>,
    limits: Limits,
    queue: Mutex<Queue>,
    wake: Condvar,
}

impl<'a> Shared<'a> {
    fn new(graph: &'a Graph<'a>, limits: Limits) -> Self {
        let count = graph.needs.len();
        let mut dependents = vec![Vec::new(); count];
        for (node, needs) in graph.needs.iter().enumerate() {
            for need in *needs {
                dependents[*need].push(node);
            }
        }
        let mut queue = Queue {
            waiting: graph.needs.iter().map(|needs| needs.len()).collect(),
            light: VecDeque::new(),
            heavy: BinaryHeap::new(),
            compressing: BinaryHeap::new(),
            heavy_running: 0,
            compressing_running: 0,
            left: count,
            failed: false,
        };
        for node in (0..count).filter(|n| graph.needs[*n].is_empty()) {
            queue.add(node, graph.weights[node]);
        }
        Self { graph, dependents, limits, queue: Mutex::new(queue), wake: Condvar::new() }
    }

    /// The next piece of work, with its permit; `None` when there is nothing left to begin.
    fn take(&self) -> Option<usize> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.failed || queue.left == 0 {
                return None;
            }
            if let Some(node) = queue.light.pop_front() {
                return Some(node);
            }
            if queue.heavy_running < self.limits.heavy.max(1)
                && let Some(node) = queue.next_stream(self.limits.compressing.max(1))
            {
                return Some(node);
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn complete(&self, node: usize) {
        let mut queue = lock(&self.queue);
        queue.left -= 1;
        match self.graph.weights[node] {
            Weight::Light => {}
            Weight::Heavy(_) => queue.heavy_running -= 1,
            Weight::Compressing(_) => {
                queue.heavy_running -= 1;
                queue.compressing_running -= 1;
            }
        }
        for dependent in &self.dependents[node] {
            queue.waiting[*dependent] -= 1;
            if queue.waiting[*dependent] == 0 {
                queue.add(*dependent, self.graph.weights[*dependent]);
            }
        }
        drop(queue);
        self.wake.notify_all();
    }

    fn fail(&self) {
        lock(&self.queue).failed = true;
        self.wake.notify_all();
    }
}

impl Queue {
    fn add(&mut self, node: usize, weight: Weight) {
        match weight {
            Weight::Light => self.light.push_back(node),
            Weight::Heavy(bytes) => self.heavy.push((bytes, std::cmp::Reverse(node))),
            Weight::Compressing(bytes) => self.compressing.push((bytes, std::cmp::Reverse(node))),
        }
    }

    /// The largest stream that may begin now.
    fn next_stream(&mut self, compressing_limit: usize) -> Option<usize> {
        let compressing = self.compressing.peek();
        let compressing = compressing.filter(|_| self.compressing_running < compressing_limit);
        let compresses = compressing.is_some() && compressing >= self.heavy.peek();
        let (_, node) = if compresses { self.compressing.pop() } else { self.heavy.pop() }?;
        self.heavy_running += 1;
        self.compressing_running += usize::from(compresses);
        Some(node.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    fn run(
        needs: &[&[usize]],
        weights: Vec<Weight>,
        limits: Limits,
        work: impl Fn(usize, &Done<usize>) -> Result<usize, &'static str> + Sync,
    ) -> Result<Vec<usize>, &'static str> {
        let graph = Graph { needs: needs.to_vec(), weights };
        execute(&graph, limits, || {}, work).map(Done::into_all)
    }

    fn limits(workers: usize, heavy: usize) -> Limits {
        Limits { workers, heavy, compressing: 1 }
    }

    #[test]
    fn does_what_is_needed_first_and_hands_results_on() {
        let needs: [&[usize]; 4] = [&[], &[0], &[0, 1], &[2]];
        let limits = limits(4, 2);
        let sums = run(&needs, vec![Weight::Light; 4], limits, |node, done| {
            Ok(1 + needs[node].iter().map(|n| *done.of(*n).unwrap()).sum::<usize>())
        });
        assert_eq!(sums.unwrap(), [1, 2, 4, 5]);
    }

    #[test]
    fn runs_only_so_many_heavy_ones_at_once() {
        let running = AtomicUsize::new(0);
        let most = AtomicUsize::new(0);
        let needs: [&[usize]; 12] = [&[]; 12];
        let limits = limits(8, 3);
        run(&needs, vec![Weight::Heavy(1); 12], limits, |node, _| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(5));
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(node)
        })
        .unwrap();
        assert!((2..=3).contains(&most.load(Ordering::SeqCst)));
    }

    #[test]
    fn compresses_only_so_many_at_once_while_others_go_on() {
        let (compressing, most, beside) =
            (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let needs: [&[usize]; 12] = [&[]; 12];
        let weight = |node| match node % 2 {
            0 => Weight::Compressing(10),
            _ => Weight::Heavy(5),
        };
        let limits = Limits { workers: 8, heavy: 4, compressing: 1 };
        run(&needs, (0..12).map(weight).collect(), limits, |node, _| {
            if node % 2 == 0 {
                most.fetch_max(compressing.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                compressing.fetch_sub(1, Ordering::SeqCst);
            } else {
                beside.fetch_max(compressing.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            Ok(node)
        })
        .unwrap();
        assert_eq!((most.into_inner(), beside.into_inner()), (1, 1));
    }

    #[test]
    fn takes_the_largest_heavy_one_first() {
        let order = Mutex::new(Vec::new());
        let weights = vec![Weight::Heavy(1), Weight::Heavy(9), Weight::Heavy(5), Weight::Light];
        let needs: [&[usize]; 4] = [&[]; 4];
        run(&needs, weights, limits(1, 1), |node, _| {
            lock(&order).push(node);
            Ok(node)
        })
        .unwrap();
        assert_eq!(*lock(&order), [3, 1, 2, 0]);
    }

    #[test]
    fn works_on_the_callers_thread_where_there_is_no_other() {
        let (ran, own) = (Mutex::new(Vec::new()), std::thread::current().id());
        let worker = || lock(&ran).push(std::thread::current().id());
        start(3, || Builder::new().stack_size(1 << 47), &worker);
        assert_eq!(*lock(&ran), [own]);
        start(3, Builder::new, &worker);
        assert!(lock(&ran).len() == 4 && lock(&ran)[1..].iter().all(|id| *id != own));
    }

    #[test]
    fn a_panic_does_not_leave_the_others_waiting() {
        let needs: [&[usize]; 3] = [&[], &[0], &[0]];
        let ended = std::panic::catch_unwind(|| {
            run(&needs, vec![Weight::Light; 3], limits(3, 1), |_, _| panic!("a defect"))
        });
        assert!(ended.is_err());
    }

    #[test]
    fn begins_nothing_after_a_failure() {
        let needs: [&[usize]; 3] = [&[], &[0], &[1]];
        let begun = AtomicUsize::new(0);
        let result = run(&needs, vec![Weight::Light; 3], limits(2, 1), |node, _| {
            begun.fetch_add(1, Ordering::SeqCst);
            if node == 1 { Err("one") } else { Ok(node) }
        });
        assert_eq!((result, begun.load(Ordering::SeqCst)), (Err("one"), 2));
    }
}
