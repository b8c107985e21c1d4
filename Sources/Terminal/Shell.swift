/// Commands printed for people to copy into a shell.
public enum Shell {
  /// `word` quoted for a POSIX shell: unchanged if every character is literal to the shell, otherwise in single quotes.
  public static func quoted(_ word: String) -> String {
    let isPlain =
      !word.isEmpty && word.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_./=:,+@%".contains($0)) }
    return isPlain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
  }
}
