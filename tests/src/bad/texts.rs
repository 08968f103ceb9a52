//! Inputs for what reads bytes: seeds that are nearly right, and what becomes of them by damage.

use super::Draw;

/// What an input is meant for; each has a function in [`crate::fuzzing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corpus {
    /// An envelope.
    Envelope,
    /// A topic and a pattern, parted by a line end.
    Topic,
    /// A settings file.
    Settings,
    /// What the program of an exec handler writes.
    Exec,
    /// What the endpoint of an HTTP handler answers.
    Http,
    /// What somebody types, words parted by line ends.
    Arguments,
}

impl Corpus {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Envelope, Self::Topic, Self::Settings, Self::Exec, Self::Http, Self::Arguments];

    /// What the inputs are made from.
    #[must_use]
    pub const fn seeds(self) -> &'static [&'static str] {
        match self {
            Self::Envelope => &[
                r#"{"v":1,"id":"019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00","topic":"a/b","payload":{"x":[1,2.5,"t",null]}}"#,
                r#"{"v":1,"id":"019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00","topic":"a","payload":0,"labels":{"a":"b"},"retries":-1,"files":[{"name":"f","size":1,"sha256":"00"}]}"#,
            ],
            Self::Topic => &["a/b/c\na/**", "a\n**", "media/image/*\nmedia/*", "a*\na/.", "..\n*"],
            Self::Settings => &[
                "namespace = \"n\"\n[broker]\nurl = \"amqp://u:p@h:5672/v\"\n[lease]\nbeat = \"1s\"\n",
                "[[queues]]\nname = \"media\"\ntopics = [\"media/**\"]\nretries = 3\nbackoff = { factor = 2, max = \"1h\" }\n",
                "[[handlers]]\ntopic = \"a/*\"\nexec = [\"x\", \"y\"]\ntimeout = \"2m\"\nenv = { A = \"b\" }\n",
            ],
            Self::Exec => &[
                "::progress 3/10 text\n::set name={\"a\":1}\nplain\r\n::set x=y\n",
                "::progress 0/0\n::progress 18446744073709551615/18446744073709551615 x\n::set =\n",
            ],
            Self::Http => &[
                "200\ncontent-type: application/json\n\n{\"done\":true}",
                "503\nretry-after: 30\n\nbusy",
                "429\nretry-after: Sun, 09 Sep 2001 01:47:10 GMT\ndate: Sun, 09 Sep 2001 01:46:40 GMT\n\n",
                "302\nlocation: http://elsewhere/\n\n",
            ],
            Self::Arguments => &[
                "longshore\njob\nadd\na/b\n--payload\n{}\n--delay\n5s",
                "longshore\njob\nlist\n--topic\na/**\n--state\nqueued\n--limit\n3\n--output\njson",
                "longshore\njob\nshow\n019a2f6e-5d3c-7a10-9c44-0d6f2b7e1a00",
                "longshore\nletters\ndead\nlist\n--limit\n5",
                "longshore\njob\nadd\na\n--label\na=b\n--retries\n-1\n--timeout\n1h\n--at\n2030-01-01T00:00:00Z",
            ],
        }
    }
}

/// So many inputs of a kind: the seeds themselves, what damage makes of them, and noise.
#[must_use]
pub fn texts(seed: u64, corpus: Corpus, count: usize) -> Vec<Vec<u8>> {
    let mut draw = Draw::new(seed ^ corpus as u64);
    let seeds = corpus.seeds();
    let mut made: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    while made.len() < count {
        let start = draw.one(seeds).as_bytes();
        made.push(match draw.below(10) {
            0 => draw.bytes(200),
            1 => start.repeat(1 + draw.below(50)),
            2 => [start, draw.one(seeds).as_bytes()].concat(),
            _ => draw.damaged(start),
        });
    }
    made
}
