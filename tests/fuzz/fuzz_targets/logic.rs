#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| knownstate_fuzz::text::logic(data));
