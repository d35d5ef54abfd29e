//! What is counted of HTTP requests: by route template, method and status class. Never by path.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::histogram::Histogram;

/// Requests of both listeners.
#[derive(Debug)]
pub struct HttpTally {
    finder: matchit::Router<usize>,
    /// The last one is for paths that are none.
    routes: Box<[Route]>,
    /// Refusals by the slug of their problem. Refusing may cost a lock; nothing else does.
    problems: Mutex<BTreeMap<&'static str, u64>>,
}

/// The label of requests to a path that is none.
const OTHER: &str = "other";

/// The methods that are told apart.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", OTHER];

#[derive(Debug)]
struct Route {
    template: Box<str>,
    /// The methods that are shown even when nobody has used them, as bits.
    expected: u8,
    operations: [OperationTally; METHODS.len()],
}

/// One method of one route.
#[derive(Debug, Default)]
pub struct OperationTally {
    /// Answers by the first digit of their status, 1 to 5.
    answers: [AtomicU64; 5],
    /// How long it took until an answer's head was ready.
    took: Histogram,
}

/// What a request asks for, as far as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    route: usize,
    method: usize,
}

impl HttpTally {
    /// For these routes, each with its methods; `{*name}` at the end of a template takes several levels. A template that
    /// contradicts one before it is left out: its requests count as those of no route.
    pub fn new<'a>(routes: impl IntoIterator<Item = (String, Vec<&'a str>)>) -> Self {
        let mut finder = matchit::Router::new();
        let mut all = Vec::new();
        for (template, methods) in routes {
            if finder.insert(&template, all.len()).is_err() {
                continue;
            }
            let expected = methods.iter().map(|method| 1 << number(method)).sum();
            // Documented without the star.
            all.push(Route::new(&template.replace("{*", "{"), expected));
        }
        all.push(Route::new(OTHER, 0));
        Self {
            finder,
            routes: all.into(),
            problems: Mutex::default(),
        }
    }

    /// What a request asks for.
    pub fn operation(&self, method: &str, path: &str) -> Operation {
        let found = self.finder.at(path).map(|found| *found.value);
        Operation {
            route: found.unwrap_or(self.routes.len() - 1),
            method: number(method),
        }
    }

    /// The template of a request's route.
    pub fn route(&self, operation: Operation) -> &str {
        &self.routes[operation.route].template
    }

    /// The method of a request, in one of the forms that are told apart.
    pub fn method(&self, operation: Operation) -> &'static str {
        METHODS[operation.method]
    }

    /// Counts an answer.
    pub fn answered(&self, operation: Operation, status: u16, took: Duration) {
        let tally = &self.routes[operation.route].operations[operation.method];
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        tally.answers[class].fetch_add(1, Ordering::Relaxed);
        tally.took.record(took);
    }

    /// Counts a refusal, by the slug of its problem.
    pub fn refused(&self, problem: &'static str) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        *problems.entry(problem).or_default() += 1;
    }

    /// How often each problem was the answer.
    pub fn problems(&self) -> BTreeMap<&'static str, u64> {
        let problems = self.problems.lock();
        problems.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Template, method and tally of every operation that is expected or was asked for.
    pub fn operations(&self) -> impl Iterator<Item = (&str, &'static str, &OperationTally)> {
        let of_route = |route: &'_ Route| {
            let all = METHODS.iter().enumerate();
            let shown = all.filter_map(|(number, method)| {
                let is_expected = route.expected & (1 << number) != 0;
                let used = route.operations[number].took.read().count() > 0;
                (is_expected || used).then_some((number, *method))
            });
            shown.collect::<Vec<_>>()
        };
        self.routes.iter().flat_map(move |route| {
            let shown = of_route(route).into_iter();
            shown.map(|(number, method)| (&*route.template, method, &route.operations[number]))
        })
    }
}

impl Route {
    fn new(template: &str, expected: u8) -> Self {
        Self {
            template: template.into(),
            expected,
            operations: Default::default(),
        }
    }
}

impl OperationTally {
    /// How many answers had each first digit that there is, from 2 on; those of 1 are none of ours.
    pub fn answers(&self) -> [(&'static str, u64); 4] {
        let read = |class: usize| self.answers[class - 1].load(Ordering::Relaxed);
        [
            ("2xx", read(2)),
            ("3xx", read(3)),
            ("4xx", read(4)),
            ("5xx", read(5)),
        ]
    }

    /// How long it took until an answer's head was ready.
    pub fn took(&self) -> &Histogram {
        &self.took
    }
}

fn number(method: &str) -> usize {
    let found = METHODS.iter().position(|known| *known == method);
    found.unwrap_or(METHODS.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally() -> HttpTally {
        let routes = [
            ("/v1/devices/{device}".to_owned(), vec!["GET", "PUT"]),
            (
                "/v1/devices/{device}/uplinks/{*subtopic}".to_owned(),
                vec!["POST"],
            ),
            ("/v1/devices".to_owned(), vec!["GET"]),
        ];
        HttpTally::new(routes)
    }

    #[test]
    fn requests_are_known_by_their_templates() {
        let tally = tally();
        for (path, template) in [
            ("/v1/devices", "/v1/devices"),
            ("/v1/devices/a%2Fb", "/v1/devices/{device}"),
            (
                "/v1/devices/a/uplinks/b/c",
                "/v1/devices/{device}/uplinks/{subtopic}",
            ),
            ("/v1/devices/a/uplinks/", OTHER),
            ("/v1/devices/", OTHER),
            ("/v1/devices/a/b", OTHER),
            ("/", OTHER),
            ("", OTHER),
            ("*", OTHER),
        ] {
            assert_eq!(
                tally.route(tally.operation("GET", path)),
                template,
                "{path:?}"
            );
        }
        let [one, two] = ["PROPFIND", "get"].map(|method| tally.operation(method, "/"));
        assert_eq!(one, two, "methods that nobody knows are one");
    }

    #[test]
    fn answers_are_counted_by_their_class() {
        let tally = tally();
        let took = Duration::from_millis(1);
        let shown = || {
            let all = tally.operations();
            all.map(|(route, method, of)| (route.to_owned(), method, of.answers().map(|(_, n)| n)))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown().len(), 4);
        let get = tally.operation("GET", "/v1/devices/a");
        for status in [200, 204, 304, 404, 503, 600, 0] {
            tally.answered(get, status, took);
        }
        tally.answered(tally.operation("BREW", "/pot"), 405, took);
        let (name, none) = ("/v1/devices/{device}", [0; 4]);
        assert_eq!(shown()[0], (name.to_owned(), "GET", [2, 1, 1, 2]));
        assert_eq!(shown()[1], (name.to_owned(), "PUT", none));
        assert_eq!(shown()[4], (OTHER.to_owned(), OTHER, [0, 0, 1, 0]));
        tally.refused("full");
        tally.refused("full");
        assert_eq!(tally.problems(), BTreeMap::from([("full", 2)]));
    }
}
