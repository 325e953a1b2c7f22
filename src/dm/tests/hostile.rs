//! Files that were changed, cut or made up: each is read or refused, without delay and without more memory than its size.

use proptest::prelude::*;

use super::*;

/// A file, some of whose bytes were overwritten, and how much is left of it.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(20), Just(21)]);
    let changes = prop::collection::vec(change, 0..6);
    (0..4usize, changes, prop::option::of(any::<prop::sample::Index>())).prop_map(|(form, changes, cut)| {
        let mut bytes = files().swap_remove(form).bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes
    })
}

/// Reads a file and checks what was found against its length.
fn read(bytes: &[u8], ahead: u64) {
    let total = bytes.len() as u64;
    let Ok((tags, _)) = walk(bytes, ahead) else { return };
    let mut kept = 0;
    for (_, data) in tags.iter() {
        assert!(data.offset + data.length <= total);
        if let Some(payload) = &data.payload {
            kept += payload.len() as u64;
            assert_eq!(**payload, bytes[data.offset as usize..][..data.length as usize]);
        }
    }
    assert!(kept <= total && tags.iter().count() as u64 <= total / 15);
    if let Ok(image) = DmImage::find(&tags) {
        assert!(image.offset + image.length <= total);
        assert_eq!(image.shape.iter().product::<u64>() * image.pixel.size() as u64, image.length);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_cases(100_000)))]

    #[test]
    fn changed_files_are_read_or_refused(bytes in mutated(), ahead in prop_oneof![Just(1u64), Just(100), Just(1 << 20)]) {
        read(&bytes, ahead);
    }

    #[test]
    fn any_bytes_are_read_or_refused(version in 3u8..5, bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(20), Just(21), Just(b'%'), any::<u8>()], 0..120)) {
        let mut file = vec![0, 0, 0, version];
        file.extend(bytes);
        read(&file, 50);
    }
}

/// A DM3 file whose root group begins with these bytes and says that it has `count` tags.
fn file(count: u32, bytes: &[u8], total: usize) -> Vec<u8> {
    let mut file = [&[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0][..], &count.to_be_bytes(), bytes].concat();
    file.resize(total.max(file.len()), 0);
    file
}

fn refusal(file: &[u8]) -> String {
    walk(file, 4096).unwrap_err().to_string()
}

fn value(info: &[u32]) -> Vec<u8> {
    let mut value = b"\x15\0\x01A%%%%".to_vec();
    value.extend((info.len() as u32).to_be_bytes());
    value.extend(info.iter().flat_map(|word| word.to_be_bytes()));
    value
}

#[test]
fn what_is_wrong_is_said() {
    for (file, expected) in [
        (Vec::new(), "offset 0: a tag of at least 4 bytes, but the file ends at 0"),
        (vec![0, 0, 0, 5, 0, 0, 0, 0], "header: version 5, which is neither DM3 nor DM4"),
        (vec![0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2], "header: byte order 2, which is neither 0 nor 1"),
        (file(u32::MAX, &[], 100), "tags: 4294967295 tags, for which there is no room in 82 bytes"),
        (file(1, &[], 100), "tags.: at offset 18: a tag of kind 0, which is neither a group nor a value"),
        (file(1, b"\x15\0\x01A%%%&", 100), "tags.A: at offset 18: the mark %%%% is missing"),
        (file(1, &value(&[99]), 100), "tags.A: at offset 18: unknown type 99"),
        (file(1, &value(&[20, 5, 3, 7]), 100), "tags.A: at offset 18: 1 words too many in the description of the type"),
        (file(1, &value(&[20, 5]), 100), "tags.A: at offset 18: the description of the type ends early"),
        (file(1, &value(&[15, 0, 9, 0, 5]), 100), "tags.A: at offset 18: a structure of 9 fields in too few words"),
        (file(1, &value(&[20, 20, 20, 20, 20, 5, 1]), 100), "tags.A: at offset 18: arrays nested too deep"),
        (
            file(1, &value(&[20, 5, u32::MAX]), 100),
            "tags.A: at offset 18: a value of 17179869180 bytes, for which 58 bytes are left",
        ),
        (file(1, b"\x15\xff\xff", 100), "offset 18: a tag of at least 65538 bytes, but the file ends at 100"),
    ] {
        assert_eq!(refusal(&file), expected);
    }
}

#[test]
fn groups_nested_too_deep_are_refused() {
    let nested: Vec<u8> = [0x14, 0, 0, 0, 0, 0, 0, 0, 1].repeat(200);
    assert!(refusal(&file(1, &nested, 0)).ends_with("groups nested more than 64 deep is not supported"));
}

#[test]
fn a_file_of_too_many_tags_is_refused() {
    let count = 200_000u32;
    let tags: Vec<u8> = [0x14, 0, 0, 0, 0, 0, 0, 0, 0].repeat(count as usize);
    assert!(refusal(&file(count, &tags, 0)).ends_with("a file of more than 16384 tags is not supported"));
}

#[test]
fn a_length_in_dm4_that_does_not_fit_its_tag_is_refused() {
    let whole = files().swap_remove(2).bytes();
    let (mut refused, mut same) = (0, 0);
    // Every byte of the file once: those of lengths must not pass.
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        match walk(&bytes, 1 << 20) {
            Ok(_) => same += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 8 * 30 && same > 0, "{refused} {same}");
}
