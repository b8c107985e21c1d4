// Edits to the templates of model families, one list per family. Each anchor must occur exactly once in the template.
// The values are checked against TRL 1.16 by Tests/Goldens/chat_templates/training_goldens.json.

extension TrainingTemplateEdits {
  static let qwen25 = TrainingTemplateEdits(
    family: "Qwen2.5", keepsReasoning: false,
    edits: [
      .init(
        replace: #"""
          (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == \#
          "assistant" and not message.tool_calls) %}
          """#, with: #"(message.role == "user") or (message.role == "system" and not loop.first) %}"#),
      .init(
        insert: #"""
                  {%- generation %}
                  {%- if not message.tool_calls %}
                      {{- '\n' + message.content + '<|im_end|>\n' }}
                  {%- else %}

          """#,
        after: #"""
          {{- '<|im_start|>' + message.role }}

          """#),
      .init(
        insert: #"""

                  {%- endif %}
                  {%- endgeneration %}
          """#,
        before: #"""

              {%- elif message.role == "tool" %}
          """#),
    ])

  static let qwen25VL = TrainingTemplateEdits(
    family: "Qwen2.5-VL", keepsReasoning: false,
    edits: [
      .init(
        insert: "{% set body %}",
        before: #"""
          {% if message['content'] is string %}{{ message['content'] }}<|im_end|>

          """#),
      .init(
        replace: #"""
          {% endfor %}<|im_end|>
          {% endif %}{% endfor %}
          """#,
        with: #"""
          {% endfor %}<|im_end|>
          {% endif %}{% endset %}{% if message['role'] == 'assistant' %}{% generation %}{{ body }}{% \#
          endgeneration %}{% else %}{{ body }}{% endif %}{% endfor %}
          """#),
    ])

  static let qwen3 = TrainingTemplateEdits(
    family: "Qwen3", keepsReasoning: true,
    edits: [
      .init(
        replace: #"""
          {%- if loop.index0 > ns.last_query_index %}
                      {%- if loop.last or (not loop.last and reasoning_content) %}
                          {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content.strip('\n') + \#
          '\n</think>\n\n' + content.lstrip('\n') }}
                      {%- else %}
                          {{- '<|im_start|>' + message.role + '\n' + content }}
                      {%- endif %}
                  {%- else %}
                      {{- '<|im_start|>' + message.role + '\n' + content }}
                  {%- endif %}
          """#,
        with: #"""
          {{- '<|im_start|>' + message.role + '\n' }}
                  {%- generation %}
                  {{- '<think>\n' + reasoning_content.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}
          """#),
      .init(
        insert: #"""

                  {%- endgeneration %}
          """#,
        before: #"""

              {%- elif message.role == "tool" %}
          """#),
    ])

  static let qwen3Instruct2507 = TrainingTemplateEdits(
    family: "Qwen3-Instruct-2507", keepsReasoning: false,
    edits: [
      .init(
        replace: #"""
          {%- elif message.role == "assistant" %}
                  {{- '<|im_start|>' + message.role + '\n' + content }}
          """#,
        with: #"""
          {%- elif message.role == "assistant" %}
                  {{- '<|im_start|>' + message.role + '\n' }}
                  {%- generation %}
                  {{- content }}
          """#),
      .init(
        insert: #"""

                  {%- endgeneration %}
          """#,
        before: #"""

              {%- elif message.role == "tool" %}
          """#),
    ])

  static let qwen3VL = TrainingTemplateEdits(
    family: "Qwen3-VL", keepsReasoning: false,
    edits: [
      .init(
        replace: #"""
          {%- elif message.role == "assistant" %}
                  {{- '<|im_start|>' + message.role + '\n' }}
                  {%- if message.content is string
          """#,
        with: #"""
          {%- elif message.role == "assistant" %}
                  {{- '<|im_start|>' + message.role + '\n' }}
                  {%- generation %}
                  {%- if message.content is string
          """#),
      .init(
        insert: #"""

                  {%- endgeneration %}
          """#,
        before: #"""

              {%- elif message.role == "tool" %}
          """#),
    ])

  static let qwen35 = TrainingTemplateEdits(
    family: "Qwen3.5", keepsReasoning: true,
    edits: [
      .init(
        replace: #"""
          {%- if loop.index0 > ns.last_query_index %}
                      {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content + '\n</think>\n\n' \#
          + content }}
                  {%- else %}
                      {{- '<|im_start|>' + message.role + '\n' + content }}
                  {%- endif %}
          """#,
        with: #"""
          {{- '<|im_start|>' + message.role + '\n' }}
                  {%- generation %}
                  {{- '<think>\n' + reasoning_content + '\n</think>\n\n' + content }}
          """#),
      .init(
        insert: #"""

                  {%- endgeneration %}
          """#,
        before: #"""

              {%- elif message.role == "tool" %}
          """#),
    ])

  static let qwen36 = TrainingTemplateEdits(
    family: "Qwen3.6", keepsReasoning: true,
    edits: [
      .init(
        replace: #"""
          {%- if (preserve_thinking is defined and preserve_thinking is true) or (loop.index0 > \#
          ns.last_query_index) %}
                      {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content + '\n</think>\n\n' \#
          + content }}
                  {%- else %}
                      {{- '<|im_start|>' + message.role + '\n' + content }}
                  {%- endif %}
          """#,
        with: #"""
          {{- '<|im_start|>' + message.role + '\n' }}
                  {%- generation %}
                  {{- '<think>\n' + reasoning_content + '\n</think>\n\n' + content }}
          """#),
      .init(
        insert: #"""

                  {%- endgeneration %}
          """#,
        before: #"""

              {%- elif message.role == "tool" %}
          """#),
    ])

  static let qwen38 = TrainingTemplateEdits(
    family: "Qwen3.8", keepsReasoning: true,
    edits: [
      .init(
        replace: #"""
          {%- if preserve_thinking is undefined or preserve_thinking is true or loop.index0 > \#
          ns.last_query_index %}
                      {{- '<|im_start|>' + message.role + '\n<think>\n' + reasoning_content + '\n</think>\n\n' \#
          + content }}
                  {%- else %}
                      {{- '<|im_start|>' + message.role + '\n' + content }}
                  {%- endif %}
          """#,
        with: #"""
          {{- '<|im_start|>' + message.role + '\n' }}
                  {%- generation %}
                  {{- '<think>\n' + reasoning_content + '\n</think>\n\n' + content }}
          """#),
      .init(
        insert: #"""

                  {%- endgeneration %}
          """#,
        before: #"""

              {%- elif message.role == "tool" %}
          """#),
    ])

  static let smolVLM = TrainingTemplateEdits(
    family: "SmolVLM", keepsReasoning: false,
    edits: [
      .init(
        replace: "{% for message in messages %}{{message['role'] | capitalize}}{% if",
        with: #"""
          {% for message in messages %}{% if message['role'] == 'assistant' %}Assistant:{% generation %}{% if \#
          message['content'][0]['type'] != 'image' %} {% endif %}{% for line in message['content'] %}{% if \#
          line['type'] == 'text' %}{{line['text']}}{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif \#
          %}{% endfor %}<end_of_utterance>
          {% endgeneration %}{% else %}{{message['role'] | capitalize}}{% if
          """#),
      .init(
        replace: #"""
          <end_of_utterance>
          {% endfor %}{% if add_generation_prompt
          """#,
        with: #"""
          <end_of_utterance>
          {% endif %}{% endfor %}{% if add_generation_prompt
          """#),
    ])
}
