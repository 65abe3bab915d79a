//! One file for each verb: arguments in, one library call, words out.

use airlift_spec::Failure;
use clap::Subcommand;

use crate::app::{App, Exit};

mod bundle;
mod completions;
mod demo;
mod export;
mod fetch;
mod fsck;
mod gc;
mod keygen;
mod land;
mod load;
mod login;
mod oc_mirror;
mod pack;
mod receipt;
mod resolve;
mod serve;
mod tree;
mod verify;
mod why;

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Pack(pack::Args),
    Resolve(resolve::Args),
    Tree(tree::Args),
    Why(why::Args),
    Export(export::Args),
    Fetch(fetch::Args),
    Bundle(bundle::Args),
    Land(land::Args),
    Verify(verify::Args),
    Load(load::Args),
    Receipt(receipt::Args),
    Serve(serve::Args),
    Gc(gc::Args),
    Fsck(fsck::Args),
    Login(login::Args),
    Keygen(keygen::Args),
    Completions(completions::Args),
    OcMirror(Box<oc_mirror::Args>),
    Demo(demo::Args),
}

impl Verb {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Failure> {
        match self {
            Self::Pack(args) => pack::run(args, app).await,
            Self::Resolve(args) => resolve::run(args, app).await,
            Self::Tree(args) => tree::run(&args, app),
            Self::Why(args) => why::run(&args, app),
            Self::Export(args) => export::run(&args, app),
            Self::Fetch(args) => fetch::run(args, app).await,
            Self::Bundle(args) => bundle::run(args, app).await,
            Self::Verify(args) => verify::run(args, app).await,
            Self::Land(args) => land::run(args, app).await,
            Self::Load(args) => load::run(args, app).await,
            Self::Receipt(args) => receipt::run(args, app).await,
            Self::Serve(args) => serve::run(args, app).await,
            Self::Gc(args) => gc::run(args, app).await,
            Self::Fsck(args) => fsck::run(args, app).await,
            Self::Login(args) => login::run(args, app).await,
            Self::Keygen(args) => keygen::run(&args, app),
            Self::Completions(args) => completions::run(&args),
            Self::OcMirror(args) => oc_mirror::run(*args, app).await,
            Self::Demo(args) => demo::run(&args, app).await,
        }
    }
}
