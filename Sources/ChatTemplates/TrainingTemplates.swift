import OrderedJSON

extension ChatTemplate {
  /// A template that makes the same text as `source` and marks what the assistant says with `{% generation %}`, for
  /// families whose own template does not: ChatML (SmolLM2 and others), Qwen2.5, Qwen3, Llama 3 and Phi-3.
  ///
  /// The family is told by what `source` makes of a handful of conversations, not by its spelling, so re-wordings of a
  /// template are known too. Marked is what TRL's training templates mark: the content with reasoning and tool calls
  /// and the token that ends the turn, but not the header of the turn.
  /// - Returns: `source` itself if it marks generation already; `nil` where no family fits.
  public static func trainingVariant(of source: String) -> String? {
    guard let template = try? ChatTemplate(source) else { return nil }
    if template.marksGeneration { return source }
    let expected = TrainingTemplates.probes.map { $0.text(of: template) }
    return TrainingTemplates.all.first { candidate in
      guard let variant = try? ChatTemplate(candidate) else { return false }
      return zip(TrainingTemplates.probes, expected).allSatisfy { probe, text in
        // Where the original refuses a conversation there is no text to match.
        text.map { $0 == probe.text(of: variant) } ?? !probe.mustRender
      }
    }
  }
}

/// Our templates with marks, and the conversations that tell which one fits.
private enum TrainingTemplates {
  struct Probe {
    let messages: JSONValue
    var tools: JSONValue?
    var addGenerationPrompt = false
    var mustRender = false

    /// The text as bytes, or `nil` where the template refuses.
    func text(of template: ChatTemplate) -> [UInt8]? {
      let variables: JSONObject = JSONObject([("bos_token", "<bos>"), ("eos_token", "<eos>")])
      let rendering = try? template.render(
        messages: messages, tools: tools, addGenerationPrompt: addGenerationPrompt, variables: variables)
      return rendering.map { Array($0.text.utf8) }
    }
  }

  static let probes: [Probe] = [
    Probe(messages: [["role": "user", "content": "a"]], addGenerationPrompt: true, mustRender: true),
    Probe(
      messages: [
        ["role": "system", "content": " s\n"], ["role": "user", "content": " u "],
        ["role": "assistant", "content": "\n x \n"], ["role": "user", "content": ""],
        ["role": "assistant", "content": "y"],
      ], mustRender: true),
    Probe(
      messages: [
        ["role": "user", "content": "u"], ["role": "assistant", "content": "<think>\nr\n</think>\n\nx"],
        ["role": "user", "content": "v"], ["role": "assistant", "content": "y", "reasoning_content": "r\n"],
      ], mustRender: true),
    Probe(messages: [["role": "system", "content": ""], ["role": "user", "content": "u"]]),
    Probe(
      messages: [["role": "user", "content": "u"], ["role": "system", "content": "s"]], addGenerationPrompt: true),
    Probe(
      messages: [
        ["role": "system", "content": "s"], ["role": "user", "content": "u"],
        [
          "role": "assistant", "content": "c",
          "tool_calls": [
            ["type": "function", "function": ["name": "f", "arguments": ["k": 1]]],
            ["type": "function", "function": ["name": "g", "arguments": [:]]],
          ],
        ],
        ["role": "tool", "content": "1"], ["role": "tool", "content": "2"], ["role": "assistant", "content": "x"],
      ], tools: [["type": "function", "function": ["name": "f", "description": "<d>"]]]),
    Probe(
      messages: [
        ["role": "user", "content": "u"],
        ["role": "assistant", "content": "", "tool_calls": [["name": "f", "arguments": "{}"]]],
        ["role": "tool", "content": "1"],
      ], tools: [["name": "f"]], addGenerationPrompt: true),
    Probe(
      messages: [
        ["role": "user", "content": "u"], ["role": "assistant", "content": "<think>r</think>x"],
      ]),
    Probe(messages: [["role": "user", "content": "u"], ["role": "tool", "content": ["k": 1]]]),
  ]

  static let all =
    [chatML(system: nil)]
    + [
      "You are a helpful AI assistant named SmolLM, trained by Hugging Face", "You are a helpful assistant",
      "You are a helpful assistant.", "You are a helpful AI assistant.",
    ].map { chatML(system: $0) }
    + [
      "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.", "You are a helpful assistant.",
      "Please reason step by step, and put your final answer within \\\\boxed{}.",
    ].map(qwen25) + [
      qwen3(readsOnlyText: true), qwen3(readsOnlyText: false), llama3, phi3(keepsEmptySystem: true),
      phi3(keepsEmptySystem: false),
    ]

  /// ChatML as SmolLM2 has it; `system` stands in where a conversation has no system message.
  static func chatML(system: String?) -> String {
    let standIn =
      system.map { text in
        """
        {%- if messages and messages[0]['role'] != 'system' %}
            {{- '<|im_start|>system\\n\(text)<|im_end|>\\n' }}
        {%- endif %}

        """
      } ?? ""
    return standIn + """
      {%- for message in messages %}
          {{- '<|im_start|>' + message['role'] + '\\n' }}
          {%- if message['role'] == 'assistant' %}
              {%- generation %}
                  {{- message['content'] + '<|im_end|>\\n' }}
              {%- endgeneration %}
          {%- else %}
              {{- message['content'] + '<|im_end|>\\n' }}
          {%- endif %}
      {%- endfor %}
      {%- if add_generation_prompt %}
          {{- '<|im_start|>assistant\\n' }}
      {%- endif %}
      """
  }

  /// The list of tools as Qwen2.5 and Qwen3 write it; the system message before it is the caller's.
  private static let qwenTools = """
    {%- macro tool_list() %}
        {{- '# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with' }}
        {{- ' function signatures within <tools></tools> XML tags:\\n<tools>' }}
        {%- for tool in tools %}
            {{- '\\n' ~ tool | tojson }}
        {%- endfor %}
        {{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within' }}
        {{- ' <tool_call></tool_call> XML tags:\\n<tool_call>\\n' }}
        {{- '{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call><|im_end|>\\n' }}
    {%- endmacro %}
    {%- macro tool_result(index, content) %}
        {%- if index == 0 or messages[index - 1].role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' ~ content ~ '\\n</tool_response>' }}
        {%- if index == messages | length - 1 or messages[index + 1].role != 'tool' %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endmacro %}

    """

  static func qwen25(system: String) -> String {
    qwenTools + """
      {%- set own_system = messages[0]['role'] == 'system' %}
      {{- '<|im_start|>system\\n' + (messages[0]['content'] if own_system else '\(system)') }}
      {{- '\\n\\n' + tool_list() if tools else '<|im_end|>\\n' }}
      {%- for message in messages %}
          {%- if message.role == 'user' or message.role == 'system' and not loop.first %}
              {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
          {%- elif message.role == 'assistant' %}
              {{- '<|im_start|>assistant' }}
              {%- generation %}
                  {%- if message.content or not message.tool_calls %}
                      {{- '\\n' + message.content }}
                  {%- endif %}
                  {%- for tool_call in message.tool_calls or [] %}
                      {%- set tool_call = tool_call.function if tool_call.function is defined else tool_call %}
                      {{- '\\n<tool_call>\\n{"name": "' ~ tool_call.name ~ '", "arguments": ' }}
                      {{- tool_call.arguments | tojson }}
                      {{- '}\\n</tool_call>' }}
                  {%- endfor %}
                  {{- '<|im_end|>\\n' }}
              {%- endgeneration %}
          {%- elif message.role == 'tool' %}
              {{- tool_result(loop.index0, message.content) }}
          {%- endif %}
      {%- endfor %}
      {%- if add_generation_prompt %}
          {{- '<|im_start|>assistant\\n' }}
      {%- endif %}
      """
  }

  /// Qwen3; earlier revisions of its template print content that is not text instead of leaving it out.
  static func qwen3(readsOnlyText: Bool) -> String {
    let condition = readsOnlyText ? " if message.content is string else ''" : ""
    return qwenTools + """
      {%- set own_system = messages[0].role == 'system' %}
      {%- if tools %}
          {{- '<|im_start|>system\\n' + (messages[0].content + '\\n\\n' if own_system else '') + tool_list() }}
      {%- elif own_system %}
          {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
      {%- endif %}
      {#- Reasoning is shown only after the last question that a person asked. #}
      {%- set last = namespace(query=messages | length - 1, found=false) %}
      {%- for message in messages[::-1] %}
          {%- if not last.found and message.role == 'user' and message.content is string
              and not (message.content.startswith('<tool_response>')
                  and message.content.endswith('</tool_response>')) %}
              {%- set last.found = true %}
              {%- set last.query = loop.revindex0 %}
          {%- endif %}
      {%- endfor %}
      {%- for message in messages %}
          {%- set content = message.content\(condition) %}
          {%- if message.role == 'user' or message.role == 'system' and not loop.first %}
              {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
          {%- elif message.role == 'assistant' %}
              {%- set reasoning = '' %}
              {%- if message.reasoning_content is string %}
                  {%- set reasoning = message.reasoning_content %}
              {%- elif '</think>' in content %}
                  {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                  {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
              {%- endif %}
              {{- '<|im_start|>assistant\\n' }}
              {%- set at = loop.index0 %}
              {%- set thinks = at > last.query and (loop.last or reasoning) %}
              {%- generation %}
                  {%- if thinks %}
                      {{- '<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
                  {%- else %}
                      {{- content }}
                  {%- endif %}
                  {%- for tool_call in message.tool_calls or [] %}
                      {{- '\\n' if content or not loop.first }}
                      {%- set tool_call = tool_call.function or tool_call %}
                      {{- '<tool_call>\\n{"name": "' ~ tool_call.name ~ '", "arguments": ' }}
                      {{- tool_call.arguments if tool_call.arguments is string else tool_call.arguments | tojson }}
                      {{- '}\\n</tool_call>' }}
                  {%- endfor %}
                  {{- '<|im_end|>\\n' }}
              {%- endgeneration %}
          {%- elif message.role == 'tool' %}
              {{- tool_result(loop.index0, content) }}
          {%- endif %}
      {%- endfor %}
      {%- if add_generation_prompt %}
          {{- '<|im_start|>assistant\\n' }}
          {{- '<think>\\n\\n</think>\\n\\n' if enable_thinking is defined and enable_thinking is false }}
      {%- endif %}
      """
  }

  static let llama3 = """
    {%- for message in messages %}
        {{- bos_token if loop.first }}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {%- if message['role'] == 'assistant' %}
            {%- generation %}
                {{- message['content'] | trim + '<|eot_id|>' }}
            {%- endgeneration %}
        {%- else %}
            {{- message['content'] | trim + '<|eot_id|>' }}
        {%- endif %}
    {%- endfor %}
    {%- if add_generation_prompt %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
    {%- endif %}
    """

  /// Phi-3, and Phi-3.5, which leaves an empty system message out.
  static func phi3(keepsEmptySystem: Bool) -> String {
    let condition = keepsEmptySystem ? "" : " and message['content']"
    return """
      {%- for message in messages %}
          {%- if message['role'] == 'user' or message['role'] == 'system'\(condition) %}
              {{- '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}
          {%- elif message['role'] == 'assistant' %}
              {{- '<|assistant|>\\n' }}
              {%- generation %}
                  {{- message['content'] + '<|end|>\\n' }}
              {%- endgeneration %}
          {%- endif %}
      {%- endfor %}
      {%- if add_generation_prompt %}
          {{- '<|assistant|>\\n' }}
      {%- elif messages and messages[-1]['role'] == 'assistant' %}
          {%- generation %}
              {{- eos_token }}
          {%- endgeneration %}
      {%- else %}
          {{- eos_token }}
      {%- endif %}
      """
  }
}
