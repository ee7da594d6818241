//! Controllers that speak Redfish (DMTF DSP0266): a few requests over HTTPS, each with the login of basic
//! authentication, which every service has to have.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::fleet::{Fault, FaultKind};
use crate::inventory::Redfish;

use super::Powered;

/// How long all of it may take; controllers are slow.
const ALL: Duration = Duration::from_mins(1);

/// How long a connection, and one answer, may take.
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(30);

/// How long a machine may take to lose its power, and the pause between two questions.
const GONE: Duration = Duration::from_secs(25);
const PAUSE: Duration = Duration::from_secs(1);

/// The longest answer, in bytes. A system's has some thousand.
const MAX: usize = 1 << 20;

/// How many characters of a controller's own words are told.
const WORDS: usize = 300;

const SYSTEMS: &str = "/redfish/v1/Systems";

/// A link to something else.
#[derive(Debug, Deserialize)]
struct Link {
    #[serde(rename = "@odata.id")]
    id: String,
}

/// All machines of a controller.
#[derive(Debug, Deserialize)]
struct Systems {
    #[serde(rename = "Members")]
    members: Vec<Link>,
}

/// A machine, as far as it matters here.
#[derive(Debug, Deserialize)]
struct System {
    #[serde(rename = "PowerState", default)]
    power: Option<String>,
    #[serde(rename = "Actions", default)]
    actions: Actions,
}

#[derive(Debug, Default, Deserialize)]
struct Actions {
    #[serde(rename = "#ComputerSystem.Reset")]
    reset: Option<Reset>,
}

/// How the machine is switched.
#[derive(Debug, Deserialize)]
struct Reset {
    target: String,
    #[serde(rename = "ResetType@Redfish.AllowableValues")]
    allowed: Option<Vec<String>>,
    #[serde(rename = "@Redfish.ActionInfo")]
    info: Option<String>,
}

/// What an action takes.
#[derive(Debug, Deserialize)]
struct ActionInfo {
    #[serde(rename = "Parameters")]
    parameters: Vec<Parameter>,
}

#[derive(Debug, Deserialize)]
struct Parameter {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "AllowableValues")]
    allowed: Option<Vec<String>>,
}

fn failed(why: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Failed, why)
}

/// Whether the machine has power.
pub(super) async fn status(of: &Redfish, password: &SecretString) -> Result<Powered, Fault> {
    let asked = async {
        let controller = Controller::of(of, password).await?;
        let path = controller.system().await?;
        Ok(powered(&controller.look(&path).await?))
    };
    in_time(of, asked).await
}

/// Switches the machine on.
pub(super) async fn on(of: &Redfish, password: &SecretString) -> Result<(), Fault> {
    in_time(of, async {
        let controller = Controller::of(of, password).await?;
        let path = controller.system().await?;
        let system = controller.look(&path).await?;
        // Many take it amiss to be told what is so already.
        if powered(&system) == Powered::On {
            return Ok(());
        }
        controller.reset(&system, &["On", "ForceOn"]).await
    })
    .await
}

/// Takes the machine's power away, and waits until the controller says that it has none.
pub(super) async fn cut(of: &Redfish, password: &SecretString) -> Result<(), Fault> {
    in_time(of, async {
        let controller = Controller::of(of, password).await?;
        let path = controller.system().await?;
        let system = controller.look(&path).await?;
        if powered(&system) == Powered::Off {
            return Ok(());
        }
        controller.reset(&system, &["ForceOff"]).await?;
        let until = Instant::now() + GONE;
        loop {
            let system = controller.look(&path).await?;
            if powered(&system) == Powered::Off {
                return Ok(());
            }
            if Instant::now() >= until {
                let state = system.power.as_deref().unwrap_or("nothing");
                let why = format!(
                    "the controller at {} took the order, and says `{state}` {} s later",
                    of.url,
                    GONE.as_secs()
                );
                return Err(Fault::new(FaultKind::TimedOut, why));
            }
            sleep(PAUSE).await;
        }
    })
    .await
}

async fn in_time<T>(
    of: &Redfish,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    timeout(ALL, work).await.unwrap_or_else(|_| {
        let why = format!(
            "the controller at {} took longer than {} s",
            of.url,
            ALL.as_secs()
        );
        Err(Fault::new(FaultKind::TimedOut, why))
    })
}

/// One that is on its way off has power still.
fn powered(system: &System) -> Powered {
    match system.power.as_deref() {
        Some("On" | "PoweringOn" | "PoweringOff" | "Paused") => Powered::On,
        Some("Off") => Powered::Off,
        _ => Powered::Unknown,
    }
}

/// The first of the `wanted` kinds of a reset that is among those that are `allowed`.
fn choose<'a>(wanted: &[&'a str], allowed: Option<&[String]>) -> Result<&'a str, String> {
    let Some(allowed) = allowed else {
        // It does not tell, and says no to what it does not do.
        return wanted.first().copied().ok_or_else(String::new);
    };
    let fits = |kind: &&&str| allowed.iter().any(|it| it == **kind);
    wanted.iter().find(fits).copied().ok_or_else(|| {
        format!(
            "it has no reset of the kind `{}`, only: {}",
            wanted.join("` or `"),
            allowed.join(", ")
        )
    })
}

/// A controller, and the login.
struct Controller<'a> {
    of: &'a Redfish,
    password: &'a SecretString,
    base: Url,
    http: Client,
}

impl<'a> Controller<'a> {
    async fn of(of: &'a Redfish, password: &'a SecretString) -> Result<Self, Fault> {
        let base = Url::parse(&of.url).map_err(|error| failed(format!("`{}`: {error}", of.url)))?;
        // Where it leads elsewhere, neither the password nor an order may go there.
        let mut builder = Client::builder()
            .https_only(true)
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .user_agent(concat!("skep/", env!("CARGO_PKG_VERSION")));
        if of.insecure {
            builder = builder.danger_accept_invalid_certs(true);
        }
        if let Some(file) = &of.ca_file {
            let shown = file.display();
            let pem = tokio::fs::read(file).await;
            let pem = pem
                .map_err(|error| failed(format!("cannot read the `ca-file` `{shown}`: {error}")))?;
            let list = Certificate::from_pem_bundle(&pem).unwrap_or_default();
            if list.is_empty() {
                return Err(failed(format!(
                    "the `ca-file` `{shown}` has no certificate (PEM)"
                )));
            }
            builder = builder.tls_built_in_root_certs(false);
            for certificate in list {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let http = builder.build();
        let http = http.map_err(|error| failed(format!("cannot speak to {}: {error}", of.url)))?;
        Ok(Self {
            of,
            password,
            base,
            http,
        })
    }

    /// The address of a path; what is no path of this very controller is refused.
    fn at(&self, path: &str) -> Result<Url, Fault> {
        let url = self.base.join(path).ok();
        let url = url.filter(|url| path.starts_with('/') && url.origin() == self.base.origin());
        url.ok_or_else(|| {
            failed(format!(
                "the controller at {} names a path that is none of its own: `{}`",
                self.of.url,
                short(path)
            ))
        })
    }

    /// The path of the machine.
    async fn system(&self) -> Result<String, Fault> {
        if let Some(name) = &self.of.system {
            let mut url = self.at(SYSTEMS)?;
            if let Ok(mut path) = url.path_segments_mut() {
                path.push(name);
            }
            return Ok(url.path().to_owned());
        }
        let found = self.systems().await?;
        match &found[..] {
            [one] => Ok(one.clone()),
            [] => Err(failed(format!(
                "the controller at {} has no machine in {SYSTEMS}",
                self.of.url
            ))),
            more => {
                let why = format!(
                    "the controller at {} has several machines: {}",
                    self.of.url,
                    names(more)
                );
                Err(failed(why).hint("Say which one it is: `system` in `power.redfish`."))
            }
        }
    }

    async fn systems(&self) -> Result<Vec<String>, Fault> {
        let found: Systems = self.get(SYSTEMS).await?;
        Ok(found.members.into_iter().map(|link| link.id).collect())
    }

    /// How the machine at `path` is.
    async fn look(&self, path: &str) -> Result<System, Fault> {
        let (status, body) = self.call(Method::GET, path, None).await?;
        if status == StatusCode::NOT_FOUND
            && let Some(name) = &self.of.system
        {
            let why = format!("the controller at {} has no machine `{name}`", self.of.url);
            return Err(match self.systems().await {
                Ok(found) if !found.is_empty() => failed(why).hint(format!(
                    "`system` in `power.redfish` is the last part of a path; it has: {}.",
                    names(&found)
                )),
                _ => failed(why),
            });
        }
        self.read(path, status, &body)
    }

    async fn reset(&self, system: &System, wanted: &[&str]) -> Result<(), Fault> {
        let Some(reset) = &system.actions.reset else {
            let why = format!(
                "the controller at {} cannot switch this machine: it has no action `#ComputerSystem.Reset`",
                self.of.url
            );
            return Err(failed(why)
                .hint("Look whether the user may do that, as an operator of the controller."));
        };
        let mut allowed = reset.allowed.clone();
        if let (None, Some(path)) = (&allowed, &reset.info) {
            let info: ActionInfo = self.get(path).await?;
            let mut parameters = info.parameters.into_iter();
            allowed = parameters
                .find(|it| it.name == "ResetType")
                .and_then(|it| it.allowed);
        }
        let kind = choose(wanted, allowed.as_deref())
            .map_err(|why| failed(format!("the controller at {}: {why}", self.of.url)))?;
        let body = json!({ "ResetType": kind });
        let (status, body) = self.call(Method::POST, &reset.target, Some(&body)).await?;
        if status.is_success() {
            return Ok(());
        }
        Err(self.fault(&reset.target, status, &body))
    }

    async fn get<T: for<'de> Deserialize<'de>>(&self, path: &str) -> Result<T, Fault> {
        let (status, body) = self.call(Method::GET, path, None).await?;
        self.read(path, status, &body)
    }

    fn read<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        status: StatusCode,
        body: &[u8],
    ) -> Result<T, Fault> {
        if status != StatusCode::OK {
            return Err(self.fault(path, status, body));
        }
        serde_json::from_slice(body).map_err(|error| {
            let why = format!("{}{path} is no answer of Redfish: {error}", self.of.url);
            failed(why).hint("Look whether it is the controller's address.")
        })
    }

    /// One request, and all of its answer.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Vec<u8>), Fault> {
        let lost = |error: &reqwest::Error| self.lost(error);
        let request = self
            .http
            .request(method, self.at(path)?)
            .header("Accept", "application/json")
            .header("OData-Version", "4.0")
            .basic_auth(&self.of.user, Some(self.password.expose_secret()));
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let mut response = request.send().await.map_err(|error| lost(&error))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| lost(&error))? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > MAX {
                return Err(failed(format!(
                    "{}{path} answers with more than {} kB",
                    self.of.url,
                    MAX >> 10
                )));
            }
        }
        if status.is_redirection() {
            let to = response
                .headers()
                .get("Location")
                .and_then(|it| it.to_str().ok());
            let why = format!(
                "{}{path} leads elsewhere: {}",
                self.of.url,
                short(to.unwrap_or("nowhere"))
            );
            return Err(failed(why).hint("Give that address, or that machine's name, in `power.redfish`; none is gone to by itself."));
        }
        Ok((status, bytes))
    }

    /// Why there was no answer.
    fn lost(&self, error: &reqwest::Error) -> Fault {
        let url = &self.of.url;
        let said = innermost(error);
        if error.is_timeout() {
            let why = format!("the controller at {url} gave no answer in time");
            return Fault::new(FaultKind::TimedOut, why);
        }
        let fault = failed(format!("no answer from the controller at {url}: {said}"));
        if said.contains("certificate") {
            return fault.hint("Name a file with the certificate of who vouches for it, `ca-file`; where any certificate may do, `insecure = true`.");
        }
        fault
    }

    /// What an answer means that is none of those hoped for.
    fn fault(&self, path: &str, status: StatusCode, body: &[u8]) -> Fault {
        let (url, user) = (&self.of.url, &self.of.user);
        let said = words(body).map(|it| format!(": {it}")).unwrap_or_default();
        match status {
            StatusCode::UNAUTHORIZED => failed(format!("the controller at {url} does not take the user `{user}` and its password"))
                .hint("Look at `user` and `password` in `power.redfish`; some controllers lock a user after a few failures."),
            StatusCode::FORBIDDEN => failed(format!("the controller at {url} does not let `{user}` do that{said}"))
                .hint("It takes the rights of an operator."),
            StatusCode::NOT_FOUND => failed(format!("there is no {path} at {url}{said}"))
                .hint("Look whether it is the controller's address, and whether Redfish is switched on there."),
            _ => failed(format!("{url}{path} says {status}{said}")),
        }
    }
}

/// What went wrong, down to its cause.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The last parts of the paths.
fn names(paths: &[String]) -> String {
    let names = paths.iter().map(|path| {
        path.trim_end_matches('/')
            .rsplit('/')
            .next()
            .unwrap_or(path)
    });
    let names: Vec<String> = names.map(short).collect();
    names.join(", ")
}

/// What a controller said, fit for a line on a terminal.
fn short(text: &str) -> String {
    let plain = text
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it });
    plain.take(WORDS).collect()
}

/// A controller's own words about what went wrong.
fn words(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = body.get("error")?;
    let message = |it: &Value| {
        it.get("Message")
            .or_else(|| it.get("message"))?
            .as_str()
            .map(str::to_owned)
    };
    let more = error.get("@Message.ExtendedInfo").and_then(Value::as_array);
    let mut all: Vec<String> = more.into_iter().flatten().filter_map(message).collect();
    if all.is_empty() {
        all.extend(message(error));
    }
    (!all.is_empty()).then(|| short(&all.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reset_is_asked_for_that_is_there() {
        let allowed = |kinds: &[&str]| kinds.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let on = ["On", "ForceOn"];
        assert_eq!(choose(&on, None), Ok("On"));
        assert_eq!(
            choose(&on, Some(&allowed(&["ForceOff", "ForceOn", "On"]))),
            Ok("On")
        );
        assert_eq!(
            choose(&on, Some(&allowed(&["ForceOff", "ForceOn"]))),
            Ok("ForceOn")
        );
        let fault = choose(&["ForceOff"], Some(&allowed(&["On", "GracefulShutdown"]))).unwrap_err();
        assert_eq!(
            fault,
            "it has no reset of the kind `ForceOff`, only: On, GracefulShutdown"
        );
    }

    #[test]
    fn what_has_power_and_what_nobody_knows() {
        let of = |text: &str| powered(&serde_json::from_str(text).unwrap());
        assert_eq!(of(r#"{"PowerState": "On"}"#), Powered::On);
        assert_eq!(of(r#"{"PowerState": "PoweringOff"}"#), Powered::On);
        assert_eq!(of(r#"{"PowerState": "Off"}"#), Powered::Off);
        assert_eq!(of(r#"{"PowerState": null}"#), Powered::Unknown);
        assert_eq!(of("{}"), Powered::Unknown);
    }

    #[test]
    fn its_own_words_are_told_on_one_line() {
        let body = br#"{"error": {"message": "see", "@Message.ExtendedInfo": [{"Message": "no\u001b[31m power"}]}}"#;
        assert_eq!(words(body).unwrap(), "no [31m power");
        assert_eq!(words(br#"{"error": {"message": "see"}}"#).unwrap(), "see");
        assert_eq!(words(b"<html>"), None);
    }

    #[tokio::test]
    async fn nothing_goes_to_another_controller() {
        let of = Redfish {
            url: "https://10.0.1.11".to_owned(),
            system: Some("Blade 7".to_owned()),
            user: "admin".to_owned(),
            password: crate::inventory::SecretRef::Prompt,
            ca_file: None,
            insecure: false,
        };
        let password = SecretString::from("hunter2");
        let controller = Controller::of(&of, &password).await.unwrap();
        assert!(controller.at("/redfish/v1/Systems/1/Actions/Reset").is_ok());
        for elsewhere in ["https://10.0.1.12/x", "//10.0.1.12/x", "x", ""] {
            assert!(controller.at(elsewhere).is_err(), "{elsewhere}");
        }
        assert_eq!(
            controller.system().await.unwrap(),
            "/redfish/v1/Systems/Blade%207"
        );
    }
}
