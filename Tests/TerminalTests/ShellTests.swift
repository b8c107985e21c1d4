import Terminal
import Testing

@Suite struct ShellTests {
  @Test(arguments: [
    ("plain", "plain"), ("--key=a/b_c.d,1:2+@%", "--key=a/b_c.d,1:2+@%"), ("", "''"), ("two words", "'two words'"),
    ("it's", "'it'\\''s'"), ("$HOME", "'$HOME'"), ("模型", "'模型'"),
  ])
  func quoted(_ word: String, _ expected: String) { #expect(Shell.quoted(word) == expected) }
}
