"""The words by which rows name what can be drawn, in English, Chinese, French, German, Italian and Spanish.

Every word is written as `plain` leaves it: folded, without accents, and, where it is several words, as one. Plurals
that only add -s, -es or -ies are not listed.
"""

# fmt: off

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

from PIL import ImageColor

from hangtag.catalogue.render.palette import COLOURS, RGB

_MARKS = re.compile("[\u0300-\u036f]")


def plain(text: str) -> str:
    """`text` folded for comparison: NFKC, case-folded, Latin letters without their accents."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _MARKS.sub("", unicodedata.normalize("NFKD", folded))


def words_of(text: str) -> frozenset[str]:
    """The words of a list written as one string."""
    return frozenset(text.split())


def _by_word(lines: Mapping[str, str]) -> dict[str, str]:
    """The name that each word stands for."""
    pairs = [(word, name) for name, words in lines.items() for word in words.split()]
    twice = sorted(word for word, count in Counter(word for word, _ in pairs).items() if count > 1)
    assert not twice, f"stand for two names: {twice}"
    return dict(pairs)


KIND_WORDS = _by_word({
    "TOTE BAGS": "tote totebag shopper shoppingbag handbag tophandle tophandlebag bucketbag hobo satchel "
                 "shoulderbag borsa borse borsashopping borsashopper borsaamano borseamano sacamain sacsamain cabas "
                 "tasche taschen handtasche handtaschen shoppingtasche schultertasche bolsadetela "
                 "托特包 手提包 手袋 购物袋 水桶包",
    "CROSSBODY BAGS": "crossbody crossbodybag messenger messengerbag camerabag pouch clutch clutchbag beltbag "
                      "bumbag fannypack pochette tracolla borsaatracolla borseatracolla marsupio bandouliere "
                      "sacbandouliere umhangetasche umhangetaschen gurteltasche bandolera bolsobandolera rinonera "
                      "斜挎包 斜背包 单肩包 邮差包 腰包 手拿包 胸包",
    "BACKPACKS": "backpack rucksack daypack knapsack bookbag zaino zaini zainetto sacados rucksacke mochila "
                 "双肩包 背包 书包",
    "DUFFLES": "duffle duffel dufflebag duffelbag holdall weekender gymbag travelbag sportsbag borsone borsoni "
               "reisetasche reisetaschen sporttasche sacdevoyage sacdesport bolsadeviaje bolsadedeporte "
               "旅行包 旅行袋 健身包 行李袋",
    "WALLETS": "wallet cardholder cardcase purse coinpurse billfold smallleathergoods portafoglio portafogli "
               "portacarte portefeuille portemonnaie portecartes geldborse geldborsen brieftasche kartenetui cartera "
               "monedero billetera tarjetero 钱包 卡包 卡夹 零钱包",
    "SNEAKERS": "sneaker trainer runningshoe trailshoe trailrunningshoe hikingshoe climbingshoe sportsshoe "
                "tennisshoe hightop lowtop scarpedaginnastica scarpesportive basket baskets turnschuh turnschuhe "
                "laufschuh laufschuhe sportschuh sportschuhe zapatilla zapatillas deportivas "
                "运动鞋 跑鞋 球鞋 板鞋 帆布鞋 跑步鞋 小白鞋 休闲鞋",
    "BOOTS": "boot bootie ankleboot wellington stivale stivali stivaletto stivaletti botte bottes bottine bottines "
             "stiefel stiefelette stiefeletten bota botas botin botines 靴 靴子 短靴 长靴 马丁靴 雪地靴",
    "PUMPS": "pump heel highheel stiletto slingback kittenheel decollete tacchi scarpecontacco escarpin escarpins "
             "pumps stockelschuhe tacon tacones zapatosdetacon 高跟鞋",
    "LOAFERS": "loafer moccasin derby oxford brogue laceup ballerina balletflat flat mocassino mocassini ballerine "
               "stringate mocassin richelieu mokassin mokassins halbschuhe schnurschuhe mocasin mocasines bailarinas "
               "乐福鞋 平底鞋 皮鞋 豆豆鞋 芭蕾鞋",
    "SANDALS": "sandal slide flipflop mule espadrille sandalo sandali ciabatta ciabatte infradito sandale sandales "
               "sandalen pantolette hausschuhe sandalia chancla chanclas slipper 凉鞋 拖鞋 凉拖",
    "T-SHIRTS": "tshirt tee teeshirt poloshirt polo jersey maglietta magliette camiseta 恤 恤衫 短袖 上衣 衫",
    "SWEATERS": "sweater jumper pullover sweatshirt knitwear cardigan crewneck longsleeve maglia maglie maglione "
                "maglioni chandail pull tricot pulli strickpullover strickwaren jerseis sueter 卫衣 毛衣 针织衫 开衫",
    "SHIRTS": "shirt blouse overshirt buttondown oxfordshirt camicia camicie camicetta blusa bluse chemise "
              "chemisier hemd hemden blusen camisa 衬衫 衬衣 女衬衫",
    "HOODIES": "hoodie hoody hooded sweatshirthoodie hoodedsweatshirt fleece felpa felpe felpaconcappuccio "
               "sweatacapuche kapuzenpullover kapuzenpulli sudadera sudaderaconcapucha 连帽衫 帽衫 连帽卫衣",
    "TANKS": "tank tanktop vest singlet camisole cami waistcoat gilet canotta canotte debardeur tragertop unterhemd "
             "weste camisetadetirantes chaleco 背心 吊带",
    "BRAS": "bra bralette sportsbra brassiere bikini lingerie reggiseno reggiseni bh "
            "soutiengorge brassieresport sujetador sosten 文胸 胸罩 运动内衣",
    "JACKETS": "jacket blazer bomber parka windbreaker anorak puffer downjacket rainjacket softshell shell suit tuxedo "
               "biker bikerjacket giacca giacche giubbotto giubbotti piumino veste blouson doudoune jacke jacken "
               "daunenjacke lederjacke sakko chaqueta cazadora americana plumifero "
               "夹克 外套 羽绒服 西装 冲锋衣 皮衣",
    "COATS": "coat trench trenchcoat overcoat peacoat raincoat cape poncho cappotto cappotti impermeabile soprabito "
             "manteau manteaux impermeable mantel abrigo gabardina 大衣 风衣 雨衣 斗篷",
    "DRESSES": "dress gown sundress shirtdress minidress maxidress jumpsuit playsuit kaftan tunic vestito vestiti "
               "abito abiti tunica robe kleid kleider vestido 连衣裙 裙子 礼服 长裙 旗袍",
    "SKIRTS": "skirt miniskirt skort kilt gonna gonne minigonna jupe rock rocke falda 半身裙 短裙 半裙",
    "TROUSERS": "denim trouser pant sweatpant trackpant jogger chino slack legging tight jean jeans cargopant yogapant "
                "overall capri pantalone pantaloni pantalon hose hosen jeanshose leggings pantalones vaqueros mallas "
                "裤 裤子 长裤 牛仔裤 休闲裤 运动裤 打底裤",
    "SHORTS": "short shorts bermuda boardshort swimshort trunk swimtrunk boxer bermudas pantaloncini costumedabagno "
              "kurzehose kurzehosen badehose pantalonescortos banador 短裤 泳裤 沙滩裤",
    "HATS": "hat buckethat fedora beanie panama sunhat cappello cappelli chapeau chapeaux hut hute sombrero gorro "
            "bonnet mutze mutzen 帽 帽子 渔夫帽 毛线帽",
    "CAPS": "cap baseballcap trucker visor cappellino berretto casquette kappe schirmmutze gorra 棒球帽 鸭舌帽",
    "HELMETS": "helmet bikehelmet hardhat casco caschi casque helm helme 头盔",
    "SCARVES": "scarf scarve shawl wrap stole bandana foulard snood sciarpa sciarpe scialle stola echarpe chale "
               "cheche schal schals halstuch tuch bufanda panuelo chal 围巾 丝巾 披肩 方巾",
    "GLOVES": "glove mitten guanto guanti gant gants moufles handschuh handschuhe faustlinge guante manopla 手套",
    "SOCKS": "sock hosiery stocking tightssocks calza calze calzino calzini chaussette collants socke socken "
             "strumpf strumpfe calcetin calcetines medias 袜 袜子 短袜 长袜",
    "BELTS": "belt cintura cinture cinturon ceinture gurtel 皮带 腰带",
    "TIES": "tie necktie cravatta cravatte cravate krawatte krawatten corbata 领带",
    "SUNGLASSES": "sunglasses sunglass eyewear glasses goggle optical spectacles occhiali occhialidasole lunettes "
                  "lunettesdesoleil sonnenbrille sonnenbrillen brille brillen gafas gafasdesol "
                  "太阳镜 墨镜 眼镜 护目镜 光学眼镜",
    "WATCHES": "watch smartwatch wristwatch chronograph timepiece orologio orologi montre uhr uhren armbanduhr "
               "armbanduhren reloj relojes 手表 腕表 智能手表",
    "RINGS": "ring anello anelli bague anillo ringe 戒指 指环",
    "NECKLACES": "necklace pendant choker collana collane ciondolo collier pendentif halskette halsketten kette "
                 "anhanger collar colgante 项链 吊坠",
    "EARRINGS": "earring hoop stud orecchino orecchini boucledoreille bouclesdoreilles ohrring ohrringe pendiente "
                "pendientes aretes 耳环 耳钉 耳饰",
    "BOTTLES": "bottle waterbottle flask thermos perfume fragrance borraccia profumo bouteille gourde parfum "
               "flasche trinkflasche parfums botella perfumes 水壶 水瓶 香水 水杯 保温杯",
    "UMBRELLAS": "umbrella parasol ombrello ombrelli parapluie regenschirm regenschirme schirm paraguas 雨伞 伞",
    "TENTS": "tent teepee tenda tende tente zelt zelte tiendadecampana 帐篷",
    "BALLS": "ball medicineball yogaball exerciseball football basketball palla palloni pallone ballon pelota balon "
             "球 篮球 足球 瑜伽球",
})

PEOPLE = "people"
FAMILIES: dict[str, tuple[str, ...]] = {
    "accessories": ("", "HATS", "CAPS", "SCARVES", "GLOVES", "BELTS", "TIES", "SUNGLASSES", "WALLETS", "SOCKS",
                    "WATCHES", "RINGS", "NECKLACES", "EARRINGS", "UMBRELLAS", "TOTE BAGS", "CROSSBODY BAGS",
                    "BACKPACKS"),
    "clothing": ("", "T-SHIRTS", "SHIRTS", "SWEATERS", "HOODIES", "TANKS", "BRAS", "JACKETS", "COATS", "DRESSES",
                 "SKIRTS", "TROUSERS", "SHORTS", "SOCKS"),
    PEOPLE: ("", *sorted(set(KIND_WORDS.values()))),
    "shoes": ("SNEAKERS", "BOOTS", "PUMPS", "LOAFERS", "SANDALS"),
    "bags": ("TOTE BAGS", "CROSSBODY BAGS", "BACKPACKS", "DUFFLES", "WALLETS"),
    "tops": ("T-SHIRTS", "SHIRTS", "SWEATERS", "HOODIES", "TANKS", "BRAS"),
    "bottoms": ("TROUSERS", "SHORTS", "SKIRTS"),
    "outerwear": ("JACKETS", "COATS"),
    "headwear": ("HATS", "CAPS", "HELMETS"),
    "jewellery": ("NECKLACES", "RINGS", "EARRINGS", "WATCHES"),
}
"""What a broad word may mean: the title chooses among these; where it does not, it is the first, "" for a shape of the
word's own."""

FAMILY_WORDS = _by_word({
    "accessories": "accessory accessori accessorio accessoires accessoire zubehor accesorio 配饰 饰品 配件",
    "clothing": "clothing clothes apparel rtw readytowear abbigliamento vetement vetements bekleidung kleidung ropa "
                "服装 服饰 衣服",
    PEOPLE: "man men mens woman women womens kid boy girl unisex baby uomo donna bambino bambini homme femme enfant "
            "herren damen kinder hombre mujer nino ninos 男 女 男装 女装 男士 女士 儿童 童装",
    "shoes": "shoe footwear scarpa scarpe calzatura calzature chaussure schuh schuhe zapato calzado 鞋 鞋子 鞋履 鞋类 "
             "单鞋 男鞋 女鞋",
    "bags": "bag luggage sac sacs bolsa bolso bolsos valigeria maroquinerie gepack 包 包袋 箱包 包包",
    "tops": "top topwear oberteil oberteile haut hauts",
    "bottoms": "bottom bottomwear unterteil 下装",
    "outerwear": "outerwear capispalla oberbekleidung",
    "headwear": "headwear 帽类",
    "jewellery": "jewellery jewelry jewel gioielli gioielleria bijou bijoux schmuck joyas joyeria 首饰 珠宝",
})

COLOUR_WORDS = {
    "Black": "black nero nera neri nere noir noire noirs schwarz schwarze schwarzer negro negra jet onyx ebony 黑 黑色",
    "White": "white bianco bianca bianchi bianche blanc blanche weiss weisse weisser blanco blanca 白 白色",
    "Red": "red rosso rossa rossi rosse rouge rot rote roter rojo roja scarlet cherry ruby 红 紅 红色 大红",
    "Yellow": "yellow giallo gialla jaune gelb gelbe amarillo amarilla lemon 黄 黃 黄色",
    "Green": "green verde verdi vert verte grun grune gruner 绿 綠 绿色",
    "Sky": "skyblue babyblue celeste azzurro azzurra bleuciel himmelblau azulcielo lightblue powderblue hellblau "
           "天蓝 天蓝色 浅蓝 浅蓝色",
    "Navy": "navy navyblue bluscuro blumarino marine bleumarine marineblau dunkelblau azulmarino midnight "
            "midnightblue 藏青 藏青色 深蓝 深蓝色 海军蓝",
    "Purple": "purple violet viola violett lila morado morada purpura violeta pourpre 紫 紫色",
    "Pink": "pink rosa rosado rosada rose blush 粉 粉色 粉红 粉红色",
    "Brown": "brown marrone marroni marron brun brune braun braune chocolate coffee mocha walnut 棕 棕色 褐色 咖啡色",
}
"""Words for the colours of the palette; those below have values of their own."""

SHADES: dict[str, tuple[RGB, str]] = {
    "Blue": ((36, 84, 196), "blue blu bleu bleue blau blaue azul 蓝 藍 蓝色"),
    "Grey": ((140, 142, 148), "grey gray grigio grigia gris grise grau graue heather melange slate 灰 灰色"),
    "Orange": ((240, 118, 22), "orange arancione arancio naranja tangerine 橙 橙色 橘色"),
    "Beige": ((214, 192, 158), "beige sand sabbia sable stone arena buff oatmeal natural archivebeige 米色 杏色"),
    "Cream": ((244, 232, 204), "cream crema creme ecru avorio ivory ivoire elfenbein marfil offwhite vanilla panna "
                               "米白 米白色 奶油色 象牙白"),
    "Burgundy": ((112, 18, 44), "burgundy bordeaux wine oxblood maroon vino granate borgogna weinrot burdeos "
                                "酒红 酒红色"),
    "Mint": ((152, 220, 190), "mint menta menthe minze sage salvia 薄荷绿 薄荷色"),
    "Olive": ((112, 112, 44), "olive oliva oliv olivgrun verdeoliva military army 橄榄绿 军绿 军绿色"),
    "Khaki": ((172, 152, 104), "khaki kaki caqui 卡其 卡其色"),
    "Camel": ((190, 136, 78), "camel tan cammello cuoio cognac caramel honey kamel camello toffee 驼色 焦糖色"),
    "Teal": ((14, 122, 126), "teal petrol petrolio petroleo ottanio 蓝绿色"),
    "Turquoise": ((44, 198, 196), "turquoise turchese turkis turquesa aqua cyan 青色 湖蓝 绿松石"),
    "Lavender": ((178, 156, 220), "lavender lilac lavanda lavande lavendel lilla mauve malva 淡紫色 薰衣草紫"),
    "Charcoal": ((72, 74, 80), "charcoal anthracite antracite anthrazit antracita graphite gunmetal 深灰 深灰色"),
    "Coral": ((248, 122, 100), "coral corallo corail koralle salmon salmone 珊瑚色"),
    "Peach": ((250, 186, 148), "peach pesca apricot albicocca peche pfirsich nude skin 桃色 裸色"),
    "Mustard": ((204, 152, 26), "mustard senape moutarde senf mostaza ochre ocra 姜黄色"),
    "Rust": ((170, 74, 34), "rust ruggine rouille terracotta brick copper rame cuivre kupfer cobre 砖红色 铜色"),
    "Fuchsia": ((220, 32, 136), "fuchsia magenta fucsia hotpink 玫红 玫红色"),
    "Emerald": ((0, 142, 98), "emerald smeraldo emeraude smaragd esmeralda 翠绿色"),
    "Forest": ((28, 84, 50), "forestgreen darkgreen verdescuro dunkelgrun bottlegreen 墨绿 墨绿色"),
    "Indigo": ((58, 62, 140), "indigo denimblue indaco 靛蓝"),
    "Lime": ((172, 220, 40), "lime neon fluo neongreen neonyellow 荧光绿"),
    "Taupe": ((144, 126, 112), "taupe tortora mushroom topo greige"),
    "Plum": ((116, 40, 92), "plum prugna prune pflaume ciruela aubergine melanzana"),
    "Gold": ((214, 168, 66), "gold golden oro dorato dorata dore doree goldfarben dorado 金 金色"),
    "Silver": ((188, 194, 206), "silver argento argentato argent argente silbern silber plata plateado 银 銀 银色"),
    "Bronze": ((150, 104, 52), "bronze bronzo bronce 古铜色"),
    "Champagne": ((230, 208, 170), "champagne rosegold 香槟色"),
}
_OTHER_THINGS = {"snow", "linen", "peru", "seashell", "wheat", "tomato", "orchid", "thistle", "chocolate"}

SHADE: dict[str, RGB] = {**COLOURS, **{name: rgb for name, (rgb, _) in SHADES.items()}}
COLOUR_WORD: dict[str, RGB] = {
    **{name: ImageColor.getrgb(name)[:3] for name in ImageColor.colormap if name not in _OTHER_THINGS},
    **{word: SHADE[name] for name, words in COLOUR_WORDS.items() for word in words.split()},
    **{word: rgb for rgb, words in SHADES.values() for word in words.split()},
}
LIGHTER = words_of("light pale pastel soft clair claire claro clara chiaro chiara hell helles 浅 淡")
DARKER = words_of("dark deep fonce foncee oscuro oscura scuro scura dunkel dunkles 深 暗")

PATTERN_WORDS = _by_word({
    "Plain": "plain solid unito uni einfarbig liso 纯色",
    "Striped": "stripe striped stripes breton righe rigato rigata raye rayee rayures gestreift streifen rayas rayado "
               "条纹 横条",
    "Pinstriped": "pinstripe pinstriped gessato nadelstreifen 细条纹",
    "Checked": "check checked checker checkered checkerboard gingham vichy quadri quadretti scacchi carreaux kariert "
               "karo cuadros 格子 格纹 方格",
    "Tartan": "tartan plaid scottish scozzese ecossais schottenkaro 苏格兰格 格呢",
    "Dotted": "dot dotted polka polkadot pois apois gepunktet punkte lunares topos 圆点 波点",
    "Floral": "floral flower flowered flowers floreale fiori fleurs fleuri geblumt blumen flores estampadofloral "
              "botanical 花卉 碎花 花朵",
    "Camouflage": "camo camouflage mimetico mimetica tarn tarnmuster camuflaje 迷彩",
    "Leopard": "leopard leopardprint leopardo leopardato cheetah animalier animalprint leopardenmuster 豹纹",
    "Zigzag": "zigzag chevron herringbone spigato spina chevrons fischgrat espiga 人字纹",
    "Houndstooth": "houndstooth piedepoule pieddepoule hahnentritt patadegallo 千鸟格",
    "Argyle": "argyle diamondpattern rombi losanges rauten rombos 菱形",
    "Blocked": "colorblock colourblock colorblocked colourblocked bicolor bicolore twotone 拼色 撞色",
})

MATERIAL_WORDS = _by_word({
    "Canvas": "canvas tela toile segeltuch lona 帆布",
    "Denim": "denim jean jeans vaquero 牛仔",
    "Knit": "knit knitted knitwear cableknit ribbed maglia tricot strick gestrickt punto tejido 针织",
    "Quilted": "quilted puffer padded insulated trapuntato trapuntata piumino matelasse doudoune gesteppt acolchado "
               "绗缝 羽绒",
    "Satin": "satin silk raso seta soie seide seda 丝绸 真丝 缎面",
    "Leather": "leather pelle cuir leder cuero piel nappa 皮革 真皮 牛皮",
    "Croc": "croc crocodile alligator python snakeskin coccodrillo pitone krokodil cocodrilo 鳄鱼 蛇皮",
    "Shearling": "shearling fleece fur sherpa montone pelliccia mouton lammfell borrego 羊羔毛 羊毛皮",
    "Cotton": "cotton cotone coton baumwolle algodon 棉",
})

FITTING_WORDS = _by_word({
    "Zip": "zip fullzip zipped zipper cerniera 拉链",
    "Gold Buckle": "buckle buckled belted 搭扣",
    "Bow": "bow fiocco noeud schleife lazo 蝴蝶结",
    "Pocket": "pocket cargo pocketed 口袋",
    "Buttons": "button buttoned doublebreasted 双排扣",
    "Tassel": "tassel tasselled nappina pompon",
    "Fringe": "fringe fringed frange",
    "Studs": "studded studs borchie 铆钉",
    "Chain": "chain catena chaine 链条",
    "Star": "star stella etoile stern estrella 星星",
    "Diamonds": "diamond diamonds diamante diamant 钻石 镶钻",
    "Heart": "heart cuore coeur herz corazon 心形",
})

SIZE_WORDS = _by_word({
    "-": "small mini micro short cropped lowtop lowheel lowheeled kittenheel ankle piccola piccolo corto corta petit "
         "petite court courte klein kleine kurz kurze pequeno pequena 小 小号 迷你 短款",
    "+": "large big maxi oversized long hightop highheel highheeled tall wide widebrim widebrimmed grande lungo lunga "
         "grand longue gross grosse lang lange largo larga 大 大号 长款",
})
SLEEVE_WORDS = _by_word({
    "-": "shortsleeve shortsleeved sleeveless manichecorte amanichecorte manchescourtes amanchescourtes kurzarm "
         "mangacorta demangacorta 短袖",
    "+": "longsleeve longsleeved manichelunghe amanichelunghe mancheslongues amancheslongues langarm mangalarga "
         "demangalarga 长袖",
})

STOP_WORDS = words_of(
    "the and with for from new men mens man women womens woman kids kid unisex boys girls our your its size pack set "
    "per con del della dei delle per uomo donna avec pour les des une dans homme femme mit und fur aus der die das "
    "herren damen para los las una hombre mujer size color colour suede wool cashmere merino linen gabardine nylon "
    "polyester viscose lana lino laine lin wolle leinen lana ante 印花 羊绒 羊毛 亚麻 新款 金属 色"
)
WITH = re.compile(r"\b(?:with|w/|con|avec|mit)\b")
HEAD_FIRST = re.compile(r"\b(?:de|di|da|del|des|du|en|in|a|pour|per|para|of|for)\b")
