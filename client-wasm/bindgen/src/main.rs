//! Writes the JavaScript and the types that belong to a compiled client: `buildspaces-client-bindgen IN.wasm FOLDER`.
//!
//! It is what the `wasm-bindgen` program does with `--target web`, without that program's servers and test runners. `scripts/build-client` runs it.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [wasm, folder] = arguments.as_slice() else {
        eprintln!("usage: buildspaces-client-bindgen IN.wasm FOLDER");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    let made = bindgen.input_path(wasm).web(true).and_then(|bindgen| {
        bindgen.typescript(true).omit_default_module_path(true).out_name("core_bindings").remove_name_section(true).generate(folder)
    });
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}
