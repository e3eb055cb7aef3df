use model::{mistakes::Mistake, refresh::*, report::check};
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let full = args.iter().any(|a| a == "--full");
    if args.iter().any(|a| a == "d") {
        use model::directory::Directory;
        for m in [None].into_iter().chain(Mistake::OF_DIRECTORY.map(Some)) {
        let out = check(Directory::new(full, m), model::directory::tell);
        println!("{m:?} {} states depth {} {:?} complete {}", out.states, out.depth, out.time, out.is_complete);
        if let Some(f) = out.failure { println!("FAILED {}\n{}\n{}", f.property, f.actions.join("\n"), f.state); }
        }
        return;
    }
    if args.iter().any(|a| a == "m") {
        for mistake in Mistake::OF_REFRESH {
            let mut found = false;
            for kind in [Kind::Refuses, Kind::Revokes] { for scope in Scope::all(kind, full) {
                let name = scope.name;
                let out = check(Refresh::new(scope, Some(mistake)), tell);
                if let Some(f) = out.failure { println!("{mistake:50} {kind:?} {name}: {} after {} states {:?}", f.property, out.states, out.time); found = true; break; }
            } }
            if !found { println!("{mistake:50} NOT FOUND"); }
        }
        return;
    }
    for kind in Kind::ALL {
        for scope in Scope::all(kind, full) {
        let name = scope.name;
        let out = check(Refresh::new(scope, None), tell);
        println!("{kind:?} {name} {} states depth {} {:?} complete {}", out.states, out.depth, out.time, out.is_complete);
        if let Some(f) = out.failure { println!("FAILED {}\n{}\n{}", f.property, f.actions.join("\n"), f.state); }
        }
    }
}
