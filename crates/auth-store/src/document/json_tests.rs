//! Objects are read as JavaScript reads them, and edits leave everything else unchanged.

use super::*;
use crate::document::json_layout::Layout;

fn object(text: &str) -> Object<'_> {
    Object::parse(text.as_bytes()).unwrap()
}

fn edited(text: &str, edit: impl FnOnce(&mut Object<'_>)) -> String {
    let mut object = object(text);
    edit(&mut object);
    let mut out = Vec::new();
    object.write(&Layout::javascript(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn an_edit_leaves_the_other_members_as_they_were() {
    let text = r#"{ "a":1.50 ,"b" : {"x":1e3} ,	"c":"\u0041"}"#;
    let set = edited(text, |object| {
        object.set("a", &2);
        object.set("d", &true);
    });
    assert_eq!(set, r#"{ "a":2 ,"b" : {"x":1e3} ,	"c":"\u0041","d":true}"#);
    assert_eq!(edited(text, |_| ()), text);
}

#[test]
fn what_goes_takes_its_comma_with_it() {
    let text = "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}";
    let without = |names: &[&str]| {
        edited(text, |object| names.iter().for_each(|name| assert!(object.remove(name))))
    };
    assert_eq!(without(&["a"]), "{\n  \"b\": 2,\n  \"c\": 3\n}");
    assert_eq!(without(&["b"]), "{\n  \"a\": 1,\n  \"c\": 3\n}");
    assert_eq!(without(&["c"]), "{\n  \"a\": 1,\n  \"b\": 2\n}");
    assert_eq!(without(&["a", "b"]), "{\n  \"c\": 3\n}");
    assert_eq!(without(&["c", "a", "b"]), "{}");
    let replaced = edited(text, |object| {
        assert!(["a", "b", "c"].iter().all(|name| object.remove(name)));
        object.set("d", &4);
    });
    assert_eq!(replaced, "{\n  \"d\": 4\n}");
}

#[test]
fn what_is_new_looks_like_its_neighbours() {
    let value = serde_json::json!({"x": [1], "y": {}});
    let with = |text: &str| edited(text, |object| object.set("n", &value));
    assert_eq!(with("{}"), "{\n  \"n\": {\n    \"x\": [\n      1\n    ],\n    \"y\": {}\n  }\n}");
    assert_eq!(with(r#"{"a":1}"#), r#"{"a":1,"n":{"x":[1],"y":{}}}"#);
    assert_eq!(with(r#"{ "a": 1 }"#), r#"{ "a": 1, "n": {"x": [1], "y": {}} }"#);
    assert_eq!(
        with("{\n\t\"a\": 1\n}"),
        "{\n\t\"a\": 1,\n\t\"n\": {\n\t\t\"x\": [\n\t\t\t1\n\t\t],\n\t\t\"y\": {}\n\t}\n}"
    );
}

#[test]
fn a_section_is_made_in_its_place_and_looks_like_its_neighbours() {
    let with = |text: &str, later: &[&str]| {
        edited(text, |object| object.section_mut("s", later).unwrap().set("x", &1))
    };
    assert_eq!(with(r#"{"a":1,"z":2}"#, &["z"]), r#"{"a":1,"s":{"x":1},"z":2}"#);
    assert_eq!(with("{\n \"z\": 2\n}", &["z"]), "{\n \"s\": {\n  \"x\": 1\n },\n \"z\": 2\n}");
    assert_eq!(with(r#"{"s":null}"#, &[]), r#"{"s":{"x":1}}"#);
    for odd in [r#"{"s":[]}"#, r#"{"s":"x"}"#, r#"{"s":5}"#] {
        assert!(object(odd).section_mut("s", &[]).is_none());
    }
}

#[test]
fn of_a_name_that_is_there_twice_the_last_counts_and_is_the_one_that_is_edited() {
    let text = r#"{"a":1,"b":2,"\u0061":3}"#;
    assert_eq!(object(text).get("a"), Some(&b"3"[..]));
    let listed: Vec<_> =
        object(text).iter().map(|(name, raw)| (name.into_owned(), raw.to_vec())).collect();
    assert_eq!(listed, [("a".to_owned(), b"3".to_vec()), ("b".to_owned(), b"2".to_vec())]);
    assert_eq!(edited(text, |object| object.set("a", &4)), r#"{"a":1,"b":2,"\u0061":4}"#);
    assert_eq!(edited(text, |object| assert!(object.remove("a"))), r#"{"b":2}"#);
}

#[test]
fn names_that_are_indexes_come_first_as_in_javascript() {
    let text = r#"{"b":0,"10":0,"01":0,"2":0,"4294967295":0,"4294967294":0,"-1":0,"a":0}"#;
    let names: Vec<_> = object(text).iter().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["2", "10", "4294967294", "b", "01", "4294967295", "-1", "a"]);
}

#[test]
fn many_members_are_found_as_few_are() {
    let names = |range: Range<usize>| range.map(|n| format!("\"n{n}\":{n}")).collect::<Vec<_>>();
    let text = format!("{{{}}}", [names(0..100), names(50..60)].concat().join(","));
    let mut object = object(&text);
    assert!(object.index.as_ref().is_some_and(|index| index.has_repeats));
    for n in 0..100 {
        assert_eq!(object.get(&format!("n{n}")).unwrap(), n.to_string().as_bytes());
    }
    assert_eq!((object.get("n100"), object.iter().count()), (None, 100));
    assert!(object.remove("n55") && object.remove("n5") && !object.remove("n5"));
    assert_eq!((object.get("n55"), object.get("n5"), object.iter().count()), (None, None, 98));
    object.set("n5", &"again");
    assert_eq!(object.get("n5"), Some(&b"\"again\""[..]));
}

#[test]
fn half_an_emoji_is_a_name_like_others() {
    let text = r#"{"x\ud83d":1,"x\ud83e":2}"#;
    assert_eq!(object(text).get(r"x\ud83e"), Some(&b"2"[..]));
    let set = edited(text, |object| {
        object.set(r"x\ud83d", &3);
        object.set(r"y\ud83d", &4);
    });
    assert_eq!(set, r#"{"x\ud83d":3,"x\ud83e":2,"y\ud83d":4}"#);
}

#[test]
fn an_object_prints_without_its_texts() {
    assert_eq!(format!("{:?}", object(r#"{"key":"s3cret"}"#)), r#"{"key"}"#);
}
