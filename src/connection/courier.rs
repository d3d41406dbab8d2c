//! Carries what the crate `oauth2` asks through our own client, with its limits and its guard.
//!
//! The crate builds what is asked (addresses, PKCE, forms, the client's proof); what is answered it does
//! not get to see. Its types keep tokens as plain texts in memory, take an answer of any kind for one of
//! JSON, and know neither `Retry-After` nor Microsoft's numbers: [`super::first_answer`] reads instead. So
//! it is handed an empty answer each time, and the true one is kept here.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use secrecy::zeroize::Zeroizing;
use url::Url;

use super::token_endpoint::ANSWER_LEN_MAX;
use crate::calendar::http::{Exchanged, Http};

/// One question's way, and its answer.
pub(super) struct Courier<'a> {
    http: &'a Http,
    answer: Mutex<Option<Exchanged>>,
}

impl<'a> Courier<'a> {
    /// Nothing has been asked yet.
    pub(super) fn new(http: &'a Http) -> Self {
        Self { http, answer: Mutex::new(None) }
    }

    /// What was answered to the last question.
    pub(super) fn answer(self) -> Exchanged {
        let answer = self.answer.into_inner().unwrap_or_else(PoisonError::into_inner);
        answer.unwrap_or_else(|| {
            let message = "the question could not be put into words".to_owned();
            Exchanged::Lost { sent: false, message }
        })
    }

    async fn carry(&self, request: HttpRequest) -> Exchanged {
        let url = Url::parse(&request.uri().to_string()).ok();
        let form = Zeroizing::new(request.into_body());
        let (Some(url), Ok(form)) = (url, std::str::from_utf8(&form)) else {
            let message = "the endpoint's address is none".to_owned();
            return Exchanged::Lost { sent: false, message };
        };
        self.http.post_form(url, form, ANSWER_LEN_MAX).await
    }
}

impl<'c> AsyncHttpClient<'c> for Courier<'_> {
    type Error = Infallible;
    type Future = BoxFuture<'c, Result<HttpResponse, Infallible>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        async move {
            let answer = self.carry(request).await;
            *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            Ok(HttpResponse::new(Vec::new()))
        }
        .boxed()
    }
}
