"""What people decided about zh_char: variants, symbols, emoji and the golden texts that tools/build_zh_char.py uses."""

# Letters and symbols that are drawn as nothing, but are neither white space nor format characters for Unicode.
BLANK = set("\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
SKIN_TONES = set("🏻🏼🏽🏾🏿")

# What Unicode keeps apart and people who type do not. Full-width forms (，：？％ ...) fold by compatibility, not here.
VARIANTS = {
    '"': "“”„‟〝〞〟「」『』«»",  # traditional texts quote with 「」 what simplified ones quote with “”
    "'": "‘’‚‛´ˊˋ′",
    "-": "‐‒–−⁃",
    "—": "―─━",
    "~": "〜∼˜",
    "·": "•・‧∙⋅᛫",
    "…": "⋯",
    "〈": "‹",
    "〉": "›",
    "○": "◯",
    "d": "đð",  # letters with a stroke have no decomposition
    "h": "ħ",
    "i": "ı",
    "l": "ł",
    "o": "ø",
    "s": "ß",
    "t": "ŧ",
}
# Beyond OpenCC's first choices, one for one. 著 and 瞭 are how Taiwan writes the particle 着 and 了解; what that costs (着名, 了望) is
# little. 劵 is the commonest slip of the pen for 券.
HAN = dict(zip("著瞭藉竝倂暱牠妳祇砲鎗羗劵幺揹甦菓伕颚鲶", "着了借并并昵它你只炮枪羌券么背苏果夫腭鲇", strict=True))
# Han that are neither in GB 2312 nor common in Big5 and that people write today: names, Cantonese, the net.
MODERN = (
    "曈咁涢琎犇喆侂屌湜堃翾棽焗脷昺玘噃啲俶湉珣瞓咗暠囍瑱赟琤憙埈玚媄昉禛烎湦楒嘚抃棪瑄逹嬅弢啱嗮崟鋆邨昳燊燚淏翀"
    "炘淯峣竑勍祎渟枃愔晙哋冚浛烜炆珺婳玠嘅彧玹磡氿崚瑀嚟旻溁玦帡冇揾啫埗佢洺囧倞嫄叒嘢垚牁珅鹮偲嗐喺槑璠鲉翚攞汭忞"
)

SYMBOLS = (
    "㎡㎥㎏㎎㎜㎝㎞㎖㏄·…—〈〉《》【】〔〕〖〗、。〇々〆〒※○●◎◇◆□■△▲▽▼☆★♀♂♪♥♡✓✔✕✖✗✘✨→←↑↓°′″℃℉№℡™©®§¶†‡‰√∞∵∴≈≠≡≤≥±×÷∑∏∈∩∪∫∠⊥∥⌒⊙¥$€£¢₩₽฿"
)
EMOJI = (
    "😀😁😂🤣😃😄😅😆😉😊😋😎😍😘🥰😗😙😚🙂🤗🤩🤔🤨😐😑😶🙄😏😣😥😮🤐😯😪😫🥱😴😌😛😜😝🤤😒😓😔😕🙃🤑😲🙁😖😞😟😤😢😭😦😧😨😩🤯😬😰😱🥵🥶😳"
    "🤪😵🥴😠😡🤬😷🤒🤕🤢🤮🤧😇🥳🥺🤠🤡🤥🤫🤭🧐🤓😈👿👹👺💀👻👽🤖💩😺😸😹😻😼😽🙀😿😾🙈🙉🙊🥲🥹🫠🫡🫣🫢🫥"
    "👍👎👌👏🙏🤝👋🤚✋🖐🤙💪👈👉👆👇☝✌🤞🤘👊✊🤛🤜🙌👐🤲✍💅🤷🤦🙋🙅🙆🙇💃🕺🏃🚶👀👂👃👄👅🧠👶👦👧👨👩👴👵👮👷👸🎅"
    "❤🧡💛💚💙💜🖤🤍🤎💔❣💕💞💓💗💖💘💝💟💋💯💢💥💫💦💨💤💬💭🔥⭐🌟⚡☀⛅☁🌧❄☃🌈🌙🌚🌝🌞🌊🎉🎊🎁🎂🎄🎈🎆🧧🏮🧨🎵🎶🎤🎧🎬🎮🎯🏆🥇"
    "☺☹⚽🏀🏸🏓🐶🐱🐭🐹🐰🦊🐻🐼🐯🦁🐮🐷🐸🐵🐔🐧🐦🐤🐴🐝🦋🐢🐍🐟🐳🐬🦐🦀🌹🌸🌺🌻🌷💐🌱🌲🍀🍁🍎🍊🍋🍌🍉🍇🍓🍑🍒🥝🍅🥑🌶🍚🍜🍲🥟🍞🍔🍟🍕🌭🥩🍗🍳🍰"
    "🍦🍩🍪🍫🍬🍭☕🍵🍺🍻🍷🥤🥛🍴🚗🚕🚌🚲🚄✈🚀🏠🏢🏥🏦🏨🏫⏰⌛⏳📱💻📷📺📞☎📧📩📦📅📌📍📎📝📚📖🔑🔒🔓🔔💡🔍💰💵💳💎🛒🛍👗👕👟💄💊💉🚬"
    "✅❌❓❗⚠⛔🚫🆗🆕🆘🔴🟢🔵⚪⚫▶◀⬆⬇⬅➡🔝🔗📈📉📊🚩"
)
GOLDEN = (
    "我要退这双鞋",
    "我卡里还剩多少",
    "尾号6621那张卡上有多少钱",
    "ＡＢＣ１２３，全角！",
    "iPhone 15 Pro Max 512GB",
    "我的訂單號還沒到，幫我查一下物流資訊",
    "我的订单号还没到，帮我查一下物流资讯",
    "臺灣的銀行卡裡還有錢嗎",
    "「看著辦」“看着办”",
    "國際信用卡還款日改到號",
    "発売日は読売新聞で",
    "ｶﾀｶﾅとひらがな",
    "㊀①②⑩Ⅰⅱ㎏℃№",
    "Café déjà vu, naïve Ångström",
    "İstanbul ſtraße ﬁn",
    "Привет, Ωμέγα",
    "한국어 안녕",
    "مرحبا שלום",
    "😀👍🏽❤️👨‍👩‍👧1️⃣🇨🇳",
    "\u200b零\u200c宽\u200d字\ufeff符\u2060",
    "制\u0000表\t换\n行\r\u0085\u2028\x7f",
    "\u202e右到左\u202c",
    "e\u0301e\u20dd\ufe0f",
    "\ud800孤立\udfff代理",
    "𝒜𝓫𝟛𠮷野家𪚥",
    "",
    "   ",
    "\u3000\u00a0",
    "[MASK][CLS]",
    "~`!@#$%^&*()_+-={}[]|\\:;\"'<>,.?/",
    "。，、；：？！…—·‘’《》〈〉【】（）",
    "镕喆堃昇犇甯",
)
