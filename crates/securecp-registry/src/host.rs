use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use securecp_layer::{CHUNK, Scope, Stopped};
use securecp_net::{
    HttpClient, Lane, NetError, Request, Response, Upload, Url, header, same_origin,
};
use securecp_oci::WithCauses;

use crate::auth::{Auth, Challenge, Grants, Pass, Refused, Wanted, choose};
use crate::beside::Known;
use crate::flight::Flights;
use crate::quirks::Profile;
use crate::reply::Refusal;
use crate::signatures;
use crate::waiting::Waiting;
use crate::warning::Warnings;
use crate::{Access, Operation, Problem, RegistryError, RetryPolicy, Uploads};

/// One registry, with what was learned of it.
pub(crate) struct Host {
    name: String,
    http: HttpClient,
    insecure: bool,
    auth: Auth,
    agent: String,
    retry: RetryPolicy,
    front: Flights<(), Front>,
    keeps_signatures: Flights<(), bool>,
    is_registry: Flights<(), ()>,
    profile: Profile,
    turns: Flights<String, ()>,
    waiting: Waiting,
    besides: Mutex<HashMap<String, Arc<Known>>>,
    warnings: Warnings,
    uploads: Uploads,
}

/// Stands in every answer of Docker's registry and of those that follow it.
const API_VERSION: &str = "docker-distribution-api-version";

/// Where the API is, and what was heard at its front door on the way.
#[derive(Clone)]
struct Front {
    base: Url,
    /// Whether the registry keeps signatures, if an answer has settled that.
    keeps_signatures: Option<bool>,
}

impl Front {
    fn seen(base: Url, answer: &Response) -> Self {
        let settled = matches!(answer.status().as_u16(), 200 | 401 | 403 | 404);
        Self { base, keeps_signatures: settled.then(|| signatures::says_so(answer)) }
    }
}

/// One request with its purpose.
pub(crate) struct Call<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) repository: &'a str,
    pub(crate) grants: Grants,
    pub(crate) request: Request,
}

impl Host {
    pub(crate) fn new(
        name: &str,
        http: HttpClient,
        insecure: bool,
        auth: Auth,
        access: &Access,
    ) -> Self {
        Self {
            name: name.to_owned(),
            http,
            insecure,
            auth,
            agent: access.user_agent.clone(),
            retry: access.retry,
            front: Flights::default(),
            keeps_signatures: Flights::default(),
            is_registry: Flights::default(),
            profile: Profile::of(name),
            turns: Flights::default(),
            waiting: Waiting::default(),
            besides: Mutex::default(),
            warnings: Warnings::default(),
            uploads: access.uploads.clone(),
        }
    }

    /// The name that the user gave.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    /// How blobs are sent.
    pub(crate) fn uploads(&self) -> &Uploads {
        &self.uploads
    }

    /// Work of which only one of a kind may run at a time.
    pub(crate) fn turns(&self) -> &Flights<String, ()> {
        &self.turns
    }

    /// What was learned of what stands beside the images of a repository.
    pub(crate) fn beside(&self, repository: &str) -> Arc<Known> {
        let mut besides = self.besides.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(besides.entry(repository.to_owned()).or_default())
    }

    /// Entries that wait for such a turn.
    pub(crate) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    pub(crate) fn retry(&self) -> RetryPolicy {
        self.retry
    }

    /// `path` behind `/v2/`.
    pub(crate) fn url(&self, path: &str, scope: &Scope) -> Result<Url, RegistryError> {
        let base = self.base(scope)?;
        let joined = base.join(path);
        joined.map_err(|_| {
            self.error(&Operation::Ping, Problem::Protocol(format!("bad path {path}")))
        })
    }

    /// Sends a request, answers a challenge once, and returns whatever status comes then.
    pub(crate) fn attempt(
        &self,
        call: &Call<'_>,
        scope: &Scope,
    ) -> Result<Response, RegistryError> {
        let pass = self.pass(call, scope)?;
        let response = self.send(call, pass.as_ref(), scope)?;
        if response.status() != 401 {
            return Ok(response);
        }
        match self.answer(call, &response, pass.as_ref(), scope)? {
            Some(better) => self.send(call, Some(&better), scope),
            None => Ok(response),
        }
    }

    /// Like [`Host::attempt`], but only the statuses in `wanted` are a success.
    pub(crate) fn expect(
        &self,
        call: &Call<'_>,
        wanted: &[u16],
        scope: &Scope,
    ) -> Result<Response, RegistryError> {
        let response = self.attempt(call, scope)?;
        if wanted.contains(&response.status().as_u16()) {
            self.check_absence(&response, scope)?;
            return Ok(response);
        }
        let doubtful = self.is_doubtful(&response, scope)?;
        let error = self.refused(call, response, scope);
        if doubtful && error.codes().is_empty() {
            self.check_front(scope)?;
        }
        Err(error)
    }

    /// That there is no such thing is only for a registry to say: a host that is none, or has its registry below another
    /// path, answers 404 to everything. Where the answer itself does not tell, the front door is asked, once.
    ///
    /// # Errors
    /// The host is no registry, or it cannot be told.
    pub(crate) fn check_absence(
        &self,
        answer: &Response,
        scope: &Scope,
    ) -> Result<(), RegistryError> {
        match self.is_doubtful(answer, scope)? {
            true => self.check_front(scope),
            false => Ok(()),
        }
    }

    /// Whether somebody else than a registry may have said that there is no such thing.
    fn is_doubtful(&self, answer: &Response, scope: &Scope) -> Result<bool, RegistryError> {
        let ours = || Ok::<_, RegistryError>(same_origin(&self.base(scope)?, answer.url()));
        let nameless = answer.status() == 404 && !answer.headers().contains_key(API_VERSION);
        Ok(nameless && ours()?)
    }

    fn check_front(&self, scope: &Scope) -> Result<(), RegistryError> {
        self.is_registry.take(&(), scope, |()| true, || self.ask_front(scope))
    }

    fn ask_front(&self, scope: &Scope) -> Result<(), RegistryError> {
        let base = self.base(scope)?;
        let answer = self.ping(&base, scope).map_err(|e| self.error(&Operation::Ping, e))?;
        if answer.status() != 404 || answer.headers().contains_key(API_VERSION) {
            return Ok(());
        }
        let status = answer.status();
        match Refusal::read(answer, scope).codes().is_empty() {
            true => Err(self.error(&Operation::Ping, Problem::NoRegistry(status))),
            false => Ok(()),
        }
    }

    /// Begins a request whose body comes piece by piece, with what is to be shown to the registry.
    pub(crate) fn upload(
        &self,
        call: &Call<'_>,
        size: Option<u64>,
        scope: &Scope,
    ) -> Result<(Upload, Option<Pass>), RegistryError> {
        let pass = self.pass(call, scope)?;
        let request = self.dress(call, pass.as_ref())?;
        let upload = self.http.upload(request, size, scope);
        Ok((upload.map_err(|error| self.failed(call, error))?, pass))
    }

    /// What to show instead of `used` after a 401; `None` if there is nothing better.
    pub(crate) fn answer(
        &self,
        call: &Call<'_>,
        response: &Response,
        used: Option<&Pass>,
        scope: &Scope,
    ) -> Result<Option<Pass>, RegistryError> {
        let base = self.base(scope)?;
        // Another host can send a request on to this one and so have it refused here; what is shown next would go there.
        if !same_origin(&base, call.request.url()) {
            return Ok(None);
        }
        let challenge = choose(response.headers());
        let challenge = challenge.or_else(|| self.challenge_of_ping(&base, scope));
        let refused = Refused { response, challenge, used };
        let answer = self.auth.answer(&base, &refused, &wanted(call), scope);
        answer.map_err(|error| error.placed(call.operation, &self.name, call.repository))
    }

    /// Runs `attempt` under the retry policy.
    pub(crate) fn retrying<T>(
        &self,
        scope: &Scope,
        attempt: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let base = self.base(scope)?;
        self.retry.run(base.authority(), self.http.net().gate(), scope, attempt)
    }

    pub(crate) fn refused(
        &self,
        call: &Call<'_>,
        response: Response,
        scope: &Scope,
    ) -> RegistryError {
        let refusal = Refusal::read(response, scope);
        let error = self.failed(call, refusal);
        match error.class() {
            crate::Class::Auth => error.with_credentials(self.auth.source(call.repository, scope)),
            _ => error,
        }
    }

    pub(crate) fn failed(&self, call: &Call<'_>, problem: impl Into<Problem>) -> RegistryError {
        RegistryError::new(call.operation.clone(), &*self.name, Some(call.repository), problem)
    }

    /// Where the registry's API is. A secure one is spoken to by https without asking; one that need not be verified
    /// may also speak http, which is found out once.
    pub(crate) fn base(&self, scope: &Scope) -> Result<Url, RegistryError> {
        Ok(self.front(scope)?.base)
    }

    fn front(&self, scope: &Scope) -> Result<Front, RegistryError> {
        self.front.take(
            &(),
            scope,
            |_| true,
            || {
                let https = self.base_with("https")?;
                if !self.insecure {
                    return Ok(Front { base: https, keeps_signatures: None });
                }
                let first = match self.ping(&https, scope) {
                    Ok(answer) => return Ok(Front::seen(https, &answer)),
                    Err(error) => error,
                };
                let http = self.base_with("http")?;
                match self.ping(&http, scope) {
                    Ok(answer) => Ok(Front::seen(http, &answer)),
                    Err(NetError::Stopped(stopped)) => Err(self.error(&Operation::Ping, stopped)),
                    Err(error)
                        if WithCauses(&error).to_string() == WithCauses(&first).to_string() =>
                    {
                        Err(self.error(&Operation::Ping, first))
                    }
                    Err(error) => Err(self.error(&Operation::Ping, first).and_plain(&error)),
                }
            },
        )
    }

    /// What the front door says, whether it lets us in or not. Whoever alters that answer can hide signatures or send
    /// us to others, but makes none.
    pub(crate) fn keeps_signatures(&self, scope: &Scope) -> Result<bool, RegistryError> {
        let Front { base, keeps_signatures } = self.front(scope)?;
        if let Some(known) = keeps_signatures {
            return Ok(known);
        }
        let ask = || {
            let failed = |problem: Problem| self.error(&Operation::Ping, problem);
            let answer = self.ping(&base, scope).map_err(|error| failed(error.into()))?;
            let known = Front::seen(base.clone(), &answer).keeps_signatures;
            known.ok_or_else(|| failed(Refusal::read(answer, scope).into()))
        };
        self.keeps_signatures.take(&(), scope, |_| true, || self.retrying(scope, ask))
    }

    fn base_with(&self, scheme: &str) -> Result<Url, RegistryError> {
        front_door(scheme, &self.name).map_err(|problem| self.error(&Operation::Ping, problem))
    }

    fn ping(&self, base: &Url, scope: &Scope) -> Result<Response, NetError> {
        self.http.send(Request::get(base.clone()).header(header::USER_AGENT, &self.agent)?, scope)
    }

    /// Some registries refuse without saying how they want to be convinced; their front door says it (seen with
    /// gcr.io).
    fn challenge_of_ping(&self, base: &Url, scope: &Scope) -> Option<Challenge> {
        self.ping(base, scope).ok().and_then(|response| choose(response.headers()))
    }

    fn pass(&self, call: &Call<'_>, scope: &Scope) -> Result<Option<Pass>, RegistryError> {
        let base = self.base(scope)?;
        if !same_origin(&base, call.request.url()) {
            return Ok(None);
        }
        let pass = self.auth.pass(&base, &wanted(call), scope);
        pass.map_err(|error| error.placed(call.operation, &self.name, call.repository))
    }

    fn send(
        &self,
        call: &Call<'_>,
        pass: Option<&Pass>,
        scope: &Scope,
    ) -> Result<Response, RegistryError> {
        let request = self.dress(call, pass)?;
        let response = self.http.send(request, scope).map_err(|error| self.failed(call, error))?;
        self.warnings.hear(&self.name, response.headers());
        Ok(response)
    }

    fn dress(&self, call: &Call<'_>, pass: Option<&Pass>) -> Result<Request, RegistryError> {
        let request = call.request.clone().header(header::USER_AGENT, &self.agent);
        let request = match pass {
            Some(pass) => request.and_then(|request| request.authorization(&pass.header)),
            None => request,
        };
        request.map_err(|error| self.failed(call, error))
    }

    fn error(&self, operation: &Operation, problem: impl Into<Problem>) -> RegistryError {
        RegistryError::new(operation.clone(), &*self.name, None, problem)
    }
}

/// Where the API of the registry `name` begins.
pub(crate) fn front_door(scheme: &str, name: &str) -> Result<Url, Problem> {
    let host = if name == "docker.io" { "registry-1.docker.io" } else { name };
    let url = format!("{scheme}://{host}/v2/").parse();
    url.map_err(|_| Problem::Settings("bad host name".to_owned()))
}

fn wanted<'a>(call: &Call<'a>) -> Wanted<'a> {
    Wanted { repository: call.repository, grants: call.grants.clone() }
}

/// A waiter that was stopped does not know what it waited for; whoever passes the error on does.
impl From<Stopped> for RegistryError {
    fn from(stopped: Stopped) -> Self {
        Self::new(Operation::Ping, "", None, stopped)
    }
}

/// Blobs of at most so many bytes (one chunk) are requests like any other; they are sent from memory.
pub(crate) const SMALL: u64 = CHUNK as u64;

/// A request of blob bytes goes by the lane for them.
pub(crate) fn bulk(request: Request) -> Request {
    request.lane(Lane::Bulk)
}
