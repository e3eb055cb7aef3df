fn main(){ println!("cargo:rustc-link-lib=dylib:+verbatim=libgcc_eh.a"); }
