use model::{refresh::*, report::check};
fn main() {
    println!("state {} bytes", std::mem::size_of::<<Refresh as stateright::Model>::State>());
    let a: Vec<u8> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    // crashes faults ends thefts  loads saves refreshes (both) procs claws
    for kind in Kind::ALL {
        let scope = Scope { name: "x", issuer: kind, logins: 1, processes: a[7], work: [(0,0),(0,0),(1,0)], clawdbots: a[8], homes: [0,1],
            whims: [(a[4],a[5],a[6]);2], crashes: a[0], faults: a[1], ends: a[2], thefts: a[3] };
        let out = check(Refresh::new(scope, None), tell);
        println!("{kind:?} {} states depth {} {:?} complete {}", out.states, out.depth, out.time, out.is_complete);
        if let Some(f) = out.failure { println!("FAILED {}\n{}\n{}", f.property, f.actions.join("\n"), f.state); }
    }
}
