use bytes::Bytes;
use securecp_layer::{Layer, LayerError, Notes, Scope};
use securecp_net::{Method, NetError, Request, Response, Url, header, same_origin};
use securecp_oci::Descriptor;

use crate::auth::Pass;
use crate::host::{Call, bulk};
use crate::upload::session::{Begun, held};
use crate::upload::{OCTETS, Put};
use crate::{Class, Client, Problem, RegistryError};

/// A large upload under way. Its session is noted, so that a later attempt or run can ask how far it has come.
struct Course {
    notes: Notes,
    session: Option<Session>,
    /// The session was begun by an earlier run.
    inherited: bool,
    /// How far the registry has said that it is.
    reached: u64,
    /// Where credentials were last refused.
    refused_at: Option<u64>,
}

/// Where an upload goes on.
#[derive(Clone)]
struct Session {
    url: Url,
    /// The most bytes that can have been sent there; a registry that has more is lying.
    sent: u64,
}

/// A body that was sent, as far as the registry wanted it.
struct Poured {
    whole: bool,
    response: Response,
    pass: Option<Pass>,
}

/// What became of one piece.
enum Piece {
    Taken,
    /// Better credentials are at hand, but the bytes are gone: the source has to be opened again.
    Again,
}

impl Client {
    /// The size of the pieces in which large blobs are sent; `None` where they are sent whole.
    pub fn piece_bytes(&self) -> Option<u64> {
        let uploads = self.host.uploads();
        let pieces = uploads.journal.is_some() && self.host.profile().resumes();
        pieces.then(|| uploads.piece_bytes.max(1))
    }
}

impl Put<'_, '_> {
    /// A large blob in pieces, each sent as it is read; `None` if it has to be sent in another way, which was not
    /// prejudiced by this one.
    pub(super) fn in_long_pieces(
        &self,
        known: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let Some(size) = self.long_piece(known) else { return Ok(None) };
        let Some(notes) = self.open_notes(known, scope)? else { return Ok(None) };
        let mut course = self.course(notes, scope)?;
        match self.follow(&mut course, known, size, scope) {
            Ok(descriptor) => {
                course.notes.forget();
                Ok(Some(descriptor))
            }
            Err(error) => self.given_up(&mut course, error),
        }
    }

    /// The size of pieces that the user and the registry want, if the blob is worth it.
    fn long_piece(&self, known: &Descriptor) -> Option<u64> {
        let host = &self.client.host;
        let size = host.uploads().piece_bytes.max(1);
        let large = known.size / 2 >= size;
        (large && host.profile().resumes()).then_some(size)
    }

    fn open_notes(
        &self,
        known: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<Notes>, RegistryError> {
        let Some(journal) = &self.client.host.uploads().journal else { return Ok(None) };
        let base = self.client.host.base(scope)?;
        Ok(journal.open(&format!("upload {base}{} {}", self.client.path(), known.digest)))
    }

    fn course(&self, notes: Notes, scope: &Scope) -> Result<Course, RegistryError> {
        let base = self.client.host.base(scope)?;
        let session = notes.lines().iter().rev().find_map(|line| Session::read(line, &base));
        let inherited = session.is_some();
        Ok(Course { notes, session, inherited, reached: 0, refused_at: None })
    }

    /// Attempts as often as the policy allows, and again for every piece that the registry has taken meanwhile.
    fn follow(
        &self,
        course: &mut Course,
        known: &Descriptor,
        size: u64,
        scope: &Scope,
    ) -> Result<Descriptor, RegistryError> {
        loop {
            let before = course.reached;
            let attempt = || match self.advance(course, known, size, scope) {
                Err(error) if matches!(error.problem(), Problem::Layer(_)) => Ok(Err(error)),
                result => result.map(Ok),
            };
            match self.client.host.retrying(scope, attempt) {
                Err(error) if error.is_transient() && course.reached >= before + size => {}
                result => return result?,
            }
        }
    }

    /// Goes on where the registry stands, to the end.
    fn advance(
        &self,
        course: &mut Course,
        known: &Descriptor,
        size: u64,
        scope: &Scope,
    ) -> Result<Descriptor, RegistryError> {
        loop {
            let (mut at, smallest) = match self.standing(course, known, scope)? {
                Some(at) => (at, 0),
                None => match self.fresh(course, scope)? {
                    Begun::Mounted => return Ok(known.clone()),
                    Begun::Session(session) => (0, session.smallest),
                },
            };
            let mut feed = Feed { layer: self.open()?, rest: Bytes::new() };
            feed.skip(at, scope).map_err(|problem| self.error(problem))?;
            loop {
                course.reached = course.reached.max(at);
                if at == known.size {
                    return self.complete(course, feed, scope);
                }
                let end = at.saturating_add(size.max(smallest)).min(known.size);
                match self.long(course, &mut feed, (at, end), scope)? {
                    Piece::Taken => at = end,
                    Piece::Again => break,
                }
            }
        }
    }

    /// Asks the registry how much it has of a session that is known. `None`: there is none, or nothing that it says can
    /// be used.
    fn standing(
        &self,
        course: &mut Course,
        known: &Descriptor,
        scope: &Scope,
    ) -> Result<Option<u64>, RegistryError> {
        let Some(session) = course.session.take() else { return Ok(None) };
        let request = Ok(Request::get(session.url.clone()));
        let call = self.client.call(self.operation, self.grants(), request)?;
        let response = match self.client.host.expect(&call, &[204, 202, 200], scope) {
            Ok(response) => response,
            Err(error) if error.is_stopped() || error.is_transient() => {
                course.session = Some(session);
                return Err(error);
            }
            Err(error) => {
                tracing::info!(%error, "the upload cannot be continued");
                return Ok(None);
            }
        };
        match self.held_there(&response, &session, known) {
            Ok((url, at)) => {
                tracing::info!(digest = %known.digest, at, "continuing an upload");
                course.session = Some(Session { url, sent: session.sent.max(at) });
                Ok(Some(at))
            }
            Err(error) => {
                tracing::warn!(%error, "the upload begins anew");
                self.cancel(session.url);
                Ok(None)
            }
        }
    }

    fn held_there(
        &self,
        response: &Response,
        session: &Session,
        known: &Descriptor,
    ) -> Result<(Url, u64), RegistryError> {
        let most = session.sent.min(known.size);
        if response.header(&header::RANGE).is_none() {
            let problem = "an upload is open, but how much of it is there was not said".to_owned();
            return Err(self.error(Problem::Protocol(problem)));
        }
        let at = held(response, most).map_err(|problem| self.error(problem))?;
        let url = self.location_or(response, &session.url)?;
        if !same_origin(response.url(), &session.url) || !same_origin(&url, &session.url) {
            let problem = "an upload under way has moved to another host".to_owned();
            return Err(self.error(Problem::Protocol(problem)));
        }
        Ok((url, at))
    }

    fn fresh(&self, course: &mut Course, scope: &Scope) -> Result<Begun, RegistryError> {
        let begun = self.begin(scope)?;
        course.inherited = false;
        if let Begun::Session(session) = &begun {
            course.session = Some(Session { url: session.url.clone(), sent: 0 });
        }
        Ok(begun)
    }

    /// Sends the bytes from the first number up to the second.
    fn long(
        &self,
        course: &mut Course,
        feed: &mut Feed<'_>,
        (at, end): (u64, u64),
        scope: &Scope,
    ) -> Result<Piece, RegistryError> {
        let session = self.begun(course)?;
        // Noted before the first byte leaves: what may be there is never understated.
        session.sent = session.sent.max(end);
        let url = session.url.clone();
        self.note(course, scope)?;
        let request = bulk(Request::new(Method::PATCH, url))
            .slow_answer()
            .header(header::CONTENT_TYPE, OCTETS)
            .and_then(|r| r.header(header::CONTENT_RANGE, &format!("{at}-{}", end - 1)));
        let call = self.client.call(self.operation, self.grants(), request)?;
        let poured = self.pour(&call, feed, end - at, scope)?;
        if poured.response.status() == 401 && course.refused_at != Some(at) {
            course.refused_at = Some(at);
            let pass = poured.pass.as_ref();
            if self.client.host.answer(&call, &poured.response, pass, scope)?.is_some() {
                return Ok(Piece::Again);
            }
        }
        match poured.response.status().as_u16() {
            202 | 201 | 204 if poured.whole => self.taken(course, &poured.response, end),
            _ => Err(self.refused_early(&call, poured.response, scope)),
        }
    }

    /// Sends `length` bytes as the body of `call`, until the registry answers.
    fn pour(
        &self,
        call: &Call<'_>,
        feed: &mut Feed<'_>,
        length: u64,
        scope: &Scope,
    ) -> Result<Poured, RegistryError> {
        let (mut upload, pass) = self.client.host.upload(call, Some(length), scope)?;
        let failed = |error: NetError| self.client.host.failed(call, error);
        let mut left = length;
        while left > 0 {
            let chunk = feed.take(left, scope).map_err(|problem| self.error(problem))?;
            left -= chunk.len() as u64;
            if let Some(response) = upload.write(chunk, scope).map_err(failed)? {
                return Ok(Poured { whole: false, response, pass });
            }
        }
        let response = upload.finish(scope).map_err(failed)?;
        Ok(Poured { whole: true, response, pass })
    }

    /// A piece counts as taken only if the registry does not say otherwise.
    fn taken(
        &self,
        course: &mut Course,
        response: &Response,
        end: u64,
    ) -> Result<Piece, RegistryError> {
        let counted = response.header(&header::RANGE).map(|_| held(response, end)).transpose();
        let counted = counted.map_err(|problem| self.error(problem))?;
        if let Some(found) = counted.filter(|found| *found != end) {
            let problem = format!("the registry has {found} bytes of the {end} that it took");
            return Err(self.error(Problem::Protocol(problem)));
        }
        if let Some(session) = course.session.as_mut() {
            session.url = self.location_or(response, &session.url)?;
        }
        Ok(Piece::Taken)
    }

    /// Everything is there: it is committed only if the chain found it right.
    fn complete(
        &self,
        course: &mut Course,
        feed: Feed<'_>,
        scope: &Scope,
    ) -> Result<Descriptor, RegistryError> {
        let descriptor = feed.finish().map_err(|problem| self.error(problem))?;
        let url = self.begun(course)?.url.clone();
        self.note(course, scope)?;
        self.commit(&url, &descriptor, Bytes::new(), scope)?;
        Ok(descriptor)
    }

    fn begun<'b>(&self, course: &'b mut Course) -> Result<&'b mut Session, RegistryError> {
        let missing = || Problem::Protocol("upload without a session".to_owned());
        course.session.as_mut().ok_or_else(|| self.error(missing()))
    }

    /// Notes where the upload goes on, if that is at the registry itself: elsewhere the URL may hold a key of its own,
    /// and it would not be followed anyway.
    fn note(&self, course: &mut Course, scope: &Scope) -> Result<(), RegistryError> {
        let base = self.client.host.base(scope)?;
        match &course.session {
            Some(session) if is_at(&session.url, &base) => course.notes.note(&session.write()),
            _ => course.notes.forget(),
        }
        Ok(())
    }

    /// Keeps what a later run can continue, and tells whether another way of sending is worth a try: it is where the
    /// registry did not like this one.
    fn given_up(
        &self,
        course: &mut Course,
        error: RegistryError,
    ) -> Result<Option<Descriptor>, RegistryError> {
        let passing = match error.problem() {
            Problem::Layer(error) => error.is_transient(),
            Problem::Stopped(_) => true,
            // A registry that has taken pieces takes them again, whatever ails it now.
            _ => error.class() == Class::Network || error.is_transient() && course.reached > 0,
        };
        if passing && !course.notes.lines().is_empty() {
            tracing::info!(reached = course.reached, "the upload is kept for the next run");
            return Err(error);
        }
        course.notes.forget();
        if let Some(session) = course.session.take() {
            self.cancel(session.url);
        }
        let ours = matches!(error.problem(), Problem::Layer(_) | Problem::Stopped(_));
        if ours || matches!(error.class(), Class::Auth | Class::Network | Class::Local) {
            return Err(error);
        }
        tracing::info!(%error, "the blob is sent in another way");
        match error.status() {
            Some(status) if status.as_u16() == 413 => {
                self.client.host.profile().learn_pieces();
            }
            // What an earlier run left may be to blame.
            _ if course.inherited => {}
            _ => self.client.host.profile().learn_no_resuming(),
        }
        Ok(None)
    }
}

/// Whether a session may be continued from notes: only at the registry that is written to now.
fn is_at(url: &Url, base: &Url) -> bool {
    same_origin(url, base)
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
}

impl Session {
    fn write(&self) -> String {
        format!("session {} {}", self.sent, self.url)
    }

    fn read(line: &str, base: &Url) -> Option<Self> {
        let (sent, url) = line.strip_prefix("session ")?.split_once(' ')?;
        let url = url.parse().ok().filter(|url| is_at(url, base))?;
        Some(Self { url, sent: sent.parse().ok()? })
    }
}

/// A chain that is read in parts of any length.
struct Feed<'a> {
    layer: Layer<'a>,
    rest: Bytes,
}

impl Feed<'_> {
    /// The next bytes, at least one and at most `most`.
    fn take(&mut self, most: u64, scope: &Scope) -> Result<Bytes, Problem> {
        while self.rest.is_empty() {
            scope.check()?;
            match self.layer.next()? {
                Some(chunk) => self.rest = chunk,
                None => return Err(LayerError::FinishedEarly.into()),
            }
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(self.rest.split_to(self.rest.len().min(most)))
    }

    /// Reads what the registry has already: it counts for the digest all the same.
    fn skip(&mut self, mut left: u64, scope: &Scope) -> Result<(), Problem> {
        while left > 0 {
            left -= self.take(left, scope)?.len() as u64;
        }
        Ok(())
    }

    /// What passed. Nothing may be left: the chain itself refuses bytes beyond its promise.
    fn finish(mut self) -> Result<Descriptor, Problem> {
        while self.layer.next()?.is_some() {}
        Ok(self.layer.finish()?)
    }
}
