#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| knownstate_fuzz::filesystem::ext(data));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    knownstate_fuzz::input::mutate::<512>(data, size, max_size, seed, libfuzzer_sys::fuzzer_mutate)
});
